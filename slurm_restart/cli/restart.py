"""`csx-restart`: the commands around a run, each in a module that is loaded when it is used."""

import importlib

import click

from slurm_restart.cli import common

# Name: what the list of commands says. Importing one must not import the others: `run` stays in
# memory beside a training for days.
COMMANDS: dict[str, str] = {
    "run": "Supervise one attempt of a run (started by the batch script).",
    "status": "Show where runs stand.",
    "explain": "Say why the last ends were judged so, and what was done.",
    "classify": "Say why a job ended, from any log.",
    "rules": "List, show, test and check the rules over log lines.",
    "reconcile": "Verify decisions and find ends that no hook judged.",
    "doctor": "Check a site's installation.",
    "hook": "Print the EpilogSlurmctld hook for this installation.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"slurm_restart.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slurm_restart", message="%(package)s %(version)s")
def group() -> None:
    """Automatic restarting of training runs under Slurm."""


def main() -> None:
    """The console script."""
    common.run(group, "csx-restart")


if __name__ == "__main__":
    main()
