"""Prints docs/reference/sbatch-options.md: `python -m slurm_restart.submit.option_reference`."""

import sys
from collections.abc import Sequence

from slurm_restart.submit.option import Argument, Option, OptionHandling
from slurm_restart.submit.option_rows import LEFT_TO_SBATCH, OWN, RESTART, SBATCH

_HEAD = """\
# Options of sbatch

What `csx-sbatch` does with every option of sbatch from Slurm 22.05 to 26.05, and with the
environment variables that set them. This page is printed from the table in the code
(`slurm_restart/submit/option_rows.py`) by `python -m slurm_restart.submit.option_reference`.

- *passed*: passed to sbatch unchanged, for every phase.
- *merged*: combined with what restarting needs.
- *passed if the size is fixed*: refused if a restart may have fewer nodes. With a config the size
  is fixed if `min_num_csx` equals `num_csx` or there is no `autorestart`, with a batch script
  unless `--min-nodes` is less than `--nodes`.
- *refused*: for this reason, with this alternative.
- *handled by csx-sbatch*: not passed to sbatch, and accepted on the command line only.
- *how to restart*: not passed to sbatch. Accepted on the command line, and in `#CSX` lines of a
  batch script, to which the rules of `#SBATCH` lines apply.

Where a batch script and a config differ, both are given.

Options are written as for sbatch: `--name=value` or `--name value`, short ones, and any unambiguous
beginning of a long name. An option that sbatch does not have is an error; options of a
site's SPANK plugins are declared in `site_options` of the settings (see
[configuration](configuration.md)). Options reach sbatch as arguments. Those of a batch script's
`#SBATCH` lines are read as sbatch reads them, and count less than variables and the command line.
"""
_VARIABLES = """
## Variables left to sbatch

A variable of the table counts as its option; it overrides the settings files, and the command line
overrides it. These others are read by sbatch itself:
"""


def reference() -> str:
    """Return the whole page."""
    parts = [
        _HEAD,
        "\n## Options of csx-sbatch\n",
        _table(OWN),
        "\n## How to restart\n",
        _table(RESTART),
        "\n## Options of sbatch\n",
        _table(SBATCH),
        _VARIABLES,
        "| variable | meaning |\n|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in LEFT_TO_SBATCH.items()),
    ]
    return "\n".join(parts) + "\n"


def _table(options: Sequence[Option]) -> str:
    head = "| option | variables | handling | note |\n|---|---|---|---|"
    return "\n".join([head, *map(_line, options)])


def _line(option: Option) -> str:
    argument = {Argument.NONE: "", Argument.REQUIRED: "=…", Argument.OPTIONAL: "[=…]"}
    names = [f"`--{option.name}{argument[option.argument]}`"]
    if option.short:
        names.insert(0, f"`-{option.short}`")
    variables = " ".join(f"`{name}`" for name in option.variables)
    handling = _handling(option.handling)
    if option.script_handling is not None:
        handling += f"; script: {_handling(option.script_handling)}"
    note = option.note.replace("|", "\\|")
    return f"| {' '.join(names)} | {variables} | {handling} | {note} |".replace("|  |", "| |")


def _handling(handling: OptionHandling) -> str:
    return "**refused**" if handling is OptionHandling.REFUSED else handling.value


if __name__ == "__main__":
    sys.stdout.write(reference())
