"""`csx-restart completion`: print what lets a shell complete commands, options and files."""

import click
from click.shell_completion import get_completion_class

from slurm_restart.submit.option import OptionHandling
from slurm_restart.submit.option_rows import OWN, RESTART, SBATCH

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_CSX_RESTART_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print the completion of csx-restart and csx-sbatch for SHELL: bash, zsh or fish.

    bash and fish read it from a directory of their own, for all users or for one; in zsh it is
    sourced by .zshrc, after compinit.
    """
    from slurm_restart.cli.restart import group  # noqa: PLC0415 - it imports this module

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click has no completion for {shell}")
    # Its `source` runs the shell for its release, which need not be installed here.
    whole = kind(group, {}, "csx-restart", _VARIABLE)
    text = whole.source_template % whole.source_vars()
    click.echo(f"{text.strip()}\n\n{sbatch_completion(shell)}")


def sbatch_options() -> list[str]:
    """Return the long options that csx-sbatch takes, in order."""
    refused = OptionHandling.REFUSED
    rows = [*OWN, *RESTART, *SBATCH]
    return sorted({f"--{row.name}" for row in rows if row.handling_for(script=True) is not refused})


def sbatch_completion(shell: str) -> str:
    """Return the completion of csx-sbatch: its options, and files."""
    options = sbatch_options()
    words = " ".join(options)
    match shell:
        case "bash":
            return f"complete -o default -o nosort -W '{words}' csx-sbatch"
        case "zsh":
            return f"_csx_sbatch() {{ compadd -- {words}; _files }}\ncompdef _csx_sbatch csx-sbatch"
        case _:
            return "\n".join(f"complete -c csx-sbatch -l {name[2:]}" for name in options)
