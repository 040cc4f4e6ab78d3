"""Writes the manual pages of the package from the help of its commands and docs/reference."""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

import slurm_restart
from contrib import roff
from contrib.docs_run import DOCS, exit_codes, option_row, usage
from slurm_restart.cli import restart, sbatch

ADMIN = ("install", "reconcile", "doctor", "hook", "nodes")
"""Subcommands that the page of section 8 describes."""
SHARED = ("nodes",)
"""Subcommands that users run too."""


def commands(chosen: Callable[[str], bool]) -> str:
    """Return a section for each subcommand, and those inside them."""
    parts = []
    context = click.Context(restart.group)
    for name in restart.group.list_commands(context):
        command = restart.group.get_command(context, name)
        if command is not None and chosen(name):
            parts += _command(name, command)
    return "\n".join(parts)


def _command(name: str, command: click.Command) -> list[str]:
    parts = [f".SS {roff.escape(usage(name, command))}", *_help(command.help or "")]
    options = [each for each in command.params if isinstance(each, click.Option)]
    parts += [roff.entry(*option_row(option)) for option in options]
    examples = (command.epilog or "").removeprefix("\b\nExamples:\n").splitlines()
    parts += [".PP\nExamples:", roff.block([line.strip() for line in examples])] if examples else []
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            parts += _command(f"{name} {inner}", each)
    return parts


def _help(text: str) -> list[str]:
    """Return the paragraphs of a help text; what stands behind a backspace keeps its lines."""
    found = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in part.splitlines()]
        if lines[0] == "\b":
            found.append(roff.block(lines[1:]))
        else:
            found.append(f".PP\n{roff.escape(' '.join(lines))}")
    return found


def exit_status() -> str:
    """Return the section on exit codes."""
    return f".SH EXIT STATUS\n{roff.entry('0', 'success')}\n{roff.from_markdown(exit_codes())}"


def see_also(*pages: str) -> str:
    """Return the section that names other pages."""
    return f".SH SEE ALSO\n{', '.join(map(roff.escape, pages))}"


def csx_restart() -> str:
    """Return csx-restart(1)."""
    return "\n".join(
        (
            roff.title("csx-restart", 1, slurm_restart.__version__, restart.group.help or ""),
            ".SH SYNOPSIS\n.B csx\\-restart\nCOMMAND [OPTIONS]",
            ".SH COMMANDS",
            commands(lambda name: name not in ADMIN or name in SHARED),
            exit_status(),
            see_also("csx-sbatch(1)", "csx-restart-admin(8)", "slurm_restart(5)", "sbatch(1)"),
        )
    )


def csx_sbatch() -> str:
    """Return csx-sbatch(1)."""
    purpose = "submit a job that is restarted automatically"
    return "\n".join(
        (
            roff.title("csx-sbatch", 1, slurm_restart.__version__, purpose),
            ".SH DESCRIPTION",
            roff.block(sbatch.HELP.rstrip().splitlines()),
            exit_status(),
            see_also("csx-restart(1)", "slurm_restart(5)", "sbatch(1)"),
        )
    )


def settings() -> str:
    """Return slurm_restart(5)."""
    purpose = "settings of runs, of submission, and of the site"
    text = (DOCS / "reference" / "configuration.md").read_text()
    return "\n".join(
        (
            roff.title("slurm_restart", 5, slurm_restart.__version__, purpose),
            ".SH DESCRIPTION",
            roff.from_markdown(text.partition("\n")[2]),
            see_also("csx-sbatch(1)", "csx-restart(1)", "csx-restart-admin(8)"),
        )
    )


def admin() -> str:
    """Return csx-restart-admin(8)."""
    purpose = "commands of csx-restart for administrators"
    return "\n".join(
        (
            roff.title("csx-restart-admin", 8, slurm_restart.__version__, purpose),
            ".SH COMMANDS",
            commands(lambda name: name in ADMIN),
            exit_status(),
            see_also("csx-restart(1)", "slurm_restart(5)", "slurm.conf(5)"),
        )
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "csx-restart.1": csx_restart,
    "csx-sbatch.1": csx_sbatch,
    "slurm_restart.5": settings,
    "csx-restart-admin.8": admin,
}


def main(args: Sequence[str] | None = None) -> int:
    """Write the pages below a directory: `man1`, `man5` and `man8`."""
    parser = argparse.ArgumentParser(prog="contrib/man", description=__doc__)
    parser.add_argument("directory", type=Path, help="such as /usr/share/man")
    directory = parser.parse_args(args).directory
    for name, page in PAGES.items():
        path = directory / f"man{name[-1]}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{page()}\n")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
