"""Render the batch script. All values in the template are quoted for the shell."""

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import slurm_restart
from slurm_restart.errors import CsxError

TEMPLATE = "sbatch.sh.j2"
SITE_TEMPLATES = Path("/etc/slurm_restart/templates")
_SHELL = "/bin/bash"
_SYNTAX_TIMEOUT = 20.0


class TemplateError(CsxError):
    """The site's template, or the installed one, cannot be used."""


class ShellLine(str):
    """A line of shell code: the only text that a template prints without quotes."""

    __slots__ = ()


def quote(text: str) -> str:
    """Quote a text as one word for any POSIX shell.

    sbatch refuses a script with a carriage return before a newline as a DOS file, so a carriage
    return is written as an expression.
    """
    carriage_return = "\"$(printf '\\015')\""
    return carriage_return.join(shlex.quote(part) for part in text.split("\r"))


def _finalize(value: Any) -> str:
    import jinja2  # noqa: PLC0415 - as in `render`

    match value:
        case ShellLine() | jinja2.Undefined():
            # str() of an undefined value raises.
            return str(value)
        case str() | Path():
            return quote(str(value))
        case bool() | None | dict():
            raise TypeError(f"no word for a shell: {value!r}")
        case int():
            return str(value)
        case Sequence():
            return " ".join(_finalize(item) for item in value)
        case _:
            raise TypeError(f"no word for a shell: {value!r}")


def template_directories() -> tuple[Path, ...]:
    """Return the directories of templates: the site's, the installed ones, those of a checkout."""
    package = Path(slurm_restart.__file__).parent
    return (SITE_TEMPLATES, package / "share" / "templates", package.parent / "templates")


def render(
    *,
    supervisor: Sequence[str],
    setup: Sequence[str] = (),
    keep_shell: bool = False,
    directories: Sequence[Path] | None = None,
) -> str:
    """Return the batch script.

    Args:
        supervisor: the command that the script becomes, absolute, with its arguments.
        setup: shell lines, as the user wrote them.
        keep_shell: whether the shell outlives the supervisor, to requeue the job if that is killed.
        directories: directories to search for the template; the first match wins.

    Raises:
        TemplateError: no template was found, or it cannot be rendered.
    """
    import jinja2  # noqa: PLC0415 - slow to import; --help and errors in the config need none

    places = template_directories() if directories is None else directories
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(places),
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the output is shell, and _finalize quotes it
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    lines = [ShellLine(line) for line in setup]
    try:
        template = environment.get_template(TEMPLATE)
        return template.render(supervisor=tuple(supervisor), setup=lines, keep_shell=keep_shell)
    except jinja2.TemplateNotFound:
        where = ", ".join(map(str, places))
        raise TemplateError(f"{TEMPLATE}: not found in {where}") from None
    except (jinja2.TemplateError, TypeError) as error:
        raise TemplateError(f"{TEMPLATE}: {error}") from error


def syntax_problem(setup: Sequence[str]) -> str | None:
    """Return the shell's syntax error in the setup lines alone; None: no error.

    The braces are those of the template, so that a line that would extend into the next ones (an
    open quote, a here-document without its end, a backslash at the end) is found.
    """
    script = "\n".join(["{", *setup, "}", ""])
    done = subprocess.run(
        [_SHELL, "-n"],
        input=script.encode(errors="surrogateescape"),
        capture_output=True,
        timeout=_SYNTAX_TIMEOUT,
        check=False,
    )
    messages = done.stderr.decode(errors="replace").strip().splitlines()
    if not messages:
        return None
    # The line of the opening brace does not count.
    number = re.compile(r"(?<=line )\d+")
    return number.sub(lambda match: str(int(match[0]) - 1), messages[0].removeprefix(f"{_SHELL}: "))
