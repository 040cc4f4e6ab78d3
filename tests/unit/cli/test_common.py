import os
import subprocess
import sys

import click
import pytest

from slurm_restart.cli import common
from slurm_restart.errors import ConfigError, SlurmUnavailableError, UsageError

LACKS = "this installation lacks yaml, without which this command cannot work"


def run(function, *args):
    """Run a command as a program; its exit code."""
    command = click.command()(function)
    with pytest.raises(SystemExit) as caught:
        common.run(command, "csx-test", args)
    return caught.value.code


def raising(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("a\nb"), 2, "csx-test: error: a\nb\n"),
        (SlurmUnavailableError("no answer"), 75, "csx-test: error: no answer\n"),
        (
            ConfigError("t.yaml", ["t.yaml:1: x", "t.yaml:2: y"]),
            3,
            "csx-test: error: 2 problems in t.yaml\nt.yaml:1: x\nt.yaml:2: y\n",
        ),
        (UsageError("a\x1b[31m\udcff\tü"), 2, "csx-test: error: a\\x1b[31m\\udcff\tü\n"),
        (ConfigError("t.yaml", ["p"]), 3, "csx-test: error: 1 problem in t.yaml\np\n"),
        (
            ModuleNotFoundError("No module named 'yaml'", name="yaml.nodes"),
            1,
            f"csx-test: error: {LACKS}: pip install pyyaml (Debian: python3-yaml)\n",
        ),
        (KeyboardInterrupt(), 130, "\ncsx-test: interrupted\n"),
        (click.Abort(), 130, "csx-test: interrupted\n"),
    ],
)
def test_errors_are_one_message_and_an_exit_code(capsys, error, code, text):
    assert run(raising(error)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == text


def test_the_return_value_of_a_command_is_its_exit_code():
    assert run(lambda: 7) == 7
    assert run(lambda: None) == 0


def test_clicks_own_errors_keep_their_form(capsys):
    assert run(lambda: None, "--nope") == 2
    assert "No such option" in capsys.readouterr().err


def test_a_module_of_our_own_that_is_missing_is_a_bug():
    with pytest.raises(ModuleNotFoundError):
        common.run(
            click.command()(raising(ModuleNotFoundError("x", name="slurm_restart.x"))),
            "csx-test",
            [],
        )


def test_an_unexpected_exception_is_not_caught():
    with pytest.raises(ZeroDivisionError):
        common.run(click.command()(lambda: 1 / 0), "csx-test", [])


PRINTER = """
import click
from slurm_restart.cli import common

@click.command()
def command():
    for _ in range({lines}):
        click.echo("a line that nobody reads")

common.run(command, "csx-test", [])
"""


@pytest.mark.parametrize("lines", [10, 100_000])
def test_a_closed_pipe_is_no_error(lines):
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", PRINTER.format(lines=lines)], stdout=writer, stderr=subprocess.PIPE
    ) as process:
        os.close(writer)
        os.close(reader)
        _, errors = process.communicate(timeout=300)
    assert errors == b""
    assert process.returncode == 1
