"""Run a command as a program: errors as one message and an exit code, ^C and closed pipes."""

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import ConfigError, CsxError

EXIT_INTERRUPTED = 128 + signal.SIGINT
_DEPENDENCIES = {
    "ClusterShell": "pip install ClusterShell (Debian: python3-clustershell)",
    "h5py": "pip install h5py (Debian: python3-h5py)",
    "jinja2": "pip install jinja2 (Debian: python3-jinja2)",
    "yaml": "pip install pyyaml (Debian: python3-yaml)",
}
"""What an installation may be without: see contrib/controller.txt."""


def run(command: click.Command, name: str, args: Sequence[str] | None = None) -> None:
    """Run a click command as a program and exit; `args` defaults to the command line."""
    _escape_unencodable()
    try:
        code = command.main(args=args, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except CsxError as error:
        report(name, error)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _report_usage(error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"{name}: interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader has closed the pipe (`| head`): no message, and the exit code of click.
        _drop_output()
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (package := (error.name or "").partition(".")[0]) not in _DEPENDENCIES:
            raise
        click.echo(
            f"{name}: error: this installation lacks {package}, without which this command cannot "
            f"work: {_DEPENDENCIES[package]}",
            err=True,
        )
        sys.exit(1)
    except OSError as error:
        _drop_output()
        click.echo(f"{name}: error: {escape_controls(error)}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _report_usage(error: click.ClickException) -> None:
    """Print an error of click, which repeats what stands on the command line."""
    message = io.StringIO()
    error.show(message)
    click.echo(escape_controls(message.getvalue(), keep="\n\t"), err=True, nl=False)


def _escape_unencodable() -> None:
    """Let characters that the terminal's encoding lacks be printed as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Redirect stdout to /dev/null, so that Python's flush at exit does not fail again."""
    with suppress(io.UnsupportedOperation):  # no file: the output is collected in memory
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report(name: str, error: CsxError) -> None:
    """Print an error to stderr; each problem of a file is on its own line."""
    if isinstance(error, ConfigError):
        count = len(error.problems)
        noun = "problem" if count == 1 else "problems"
        click.echo(f"{name}: error: {count} {noun} in {escape_controls(error.path)}", err=True)
        for problem in error.problems:
            click.echo(escape_controls(problem, keep="\n\t"), err=True)
    else:
        text = escape_controls(error, keep="\n\t")
        click.echo(f"{name}: error: {text}", err=True)
