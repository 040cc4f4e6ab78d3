"""Each subcommand's help ends with examples, which the subcommand takes."""

import shlex

import click
import pytest
from click.testing import CliRunner

from slurm_restart.cli.examples import EXAMPLES
from slurm_restart.cli.restart import group


def names(command: click.Group, before: str = "") -> list[str]:
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        found.append(f"{before}{name}")
        inner = command.get_command(context, name)
        if isinstance(inner, click.Group):
            found += names(inner, f"{before}{name} ")
    return found


def test_every_subcommand_has_examples():
    assert set(EXAMPLES) == set(names(group))


@pytest.mark.parametrize("name", EXAMPLES)
def test_they_are_in_its_help(name):
    text = CliRunner().invoke(group, [*name.split(), "--help"]).output
    shown = [line.strip() for line in text.partition("Examples:\n")[2].splitlines()]
    assert shown == list(EXAMPLES[name])


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_the_options_of_an_example_are_known(line):
    called = line.partition("csx-restart ")[2]
    words = shlex.split(called.partition(" > ")[0].partition(" | less")[0].rstrip(")"))
    command: click.Command = group
    context = click.Context(command)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None
        if words[1:] and isinstance(found, click.Group):
            command, words = found, words[1:]
            continue
        command, words = found, words[1:]
    known = {text for each in command.params for text in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if word.startswith("-") and len(word) > 1} <= known
