"""`csx-restart`: its subcommands, each in a module that is imported when it is used."""

import importlib

import click
from click.shell_completion import CompletionItem

from slurm_restart.cli import common
from slurm_restart.cli.examples import add_examples

# Name: help text in the list of commands. Importing one must not import the others: `run` stays in
# memory beside a training for days.
COMMANDS: dict[str, str] = {
    "run": "Supervise one attempt of a run (started by the batch script).",
    "list": "List runs, finished ones too.",
    "status": "Show where runs stand.",
    "log": "Show the log of all attempts as one, and follow it.",
    "explain": "Explain why attempts ended and what was decided.",
    "nodes": "Show what runs tell of each node; clear or exclude one.",
    "cancel": "Cancel a run, and wait until Slurm shows that it has ended.",
    "stop": "End a run for good, now or after its next checkpoint.",
    "resume": "Take up a run that has ended, from its last checkpoint.",
    "release": "Release a run that is held.",
    "set": "Change the restart settings of a run.",
    "classify": "Find out why a job ended, from any log.",
    "rules": "List, show, test and check the rules over log lines.",
    "reconcile": "Verify decisions and find ends that no hook handled.",
    "install": "Print what an installation needs on this machine, or check it.",
    "doctor": "Check a site's installation.",
    "completion": "Print the completion for bash, zsh or fish.",
    "hook": "Print the EpilogSlurmctld hook for this installation.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"slurm_restart.cli.{cmd_name}")
        command: click.Command = module.command
        add_examples(command, cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = (name for name in COMMANDS if name.startswith(incomplete))
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=COMMANDS[name]) for name in names), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slurm_restart", message="%(package)s %(version)s")
def group() -> None:
    """Restart training runs under Slurm automatically."""


def main() -> None:
    """The console script."""
    common.run(group, "csx-restart")


if __name__ == "__main__":
    main()
