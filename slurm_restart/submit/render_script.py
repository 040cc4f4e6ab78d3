"""Renders the batch script. Whatever goes into the template comes out as quoted words."""

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

import slurm_restart
from slurm_restart.errors import CsxError

TEMPLATE = "sbatch.sh.j2"
SITE_TEMPLATES = Path("/etc/slurm_restart/templates")
_SHELL = "/bin/bash"
_SYNTAX_TIMEOUT = 20.0


class TemplateError(CsxError):
    """The site's template, or the one installed, cannot be used."""


class ShellLine(str):
    """A line that is code by intention: the only text that a template puts out unquoted."""

    __slots__ = ()


def quote(text: str) -> str:
    """A word for any POSIX shell.

    sbatch takes a carriage return before a newline for a file from DOS and refuses the script, so
    none stands there as it is.
    """
    carriage_return = "\"$(printf '\\015')\""
    return carriage_return.join(shlex.quote(part) for part in text.split("\r"))


def _finalize(value: Any) -> str:
    match value:
        case ShellLine() | jinja2.Undefined():
            # Of what is undefined there is no text: it raises.
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
    """Where templates are looked for: the site's, the installed ones, those of a checkout."""
    package = Path(slurm_restart.__file__).parent
    return (SITE_TEMPLATES, package / "share" / "templates", package.parent / "templates")


def render(
    *,
    supervisor: Sequence[str],
    setup: Sequence[str] = (),
    directories: Sequence[Path] | None = None,
) -> str:
    """The batch script.

    Args:
        supervisor: the command that the script becomes, absolute, with its arguments.
        setup: shell lines, as the person wrote them.
        directories: where the template is looked for, the first one wins.

    Raises:
        TemplateError: no template, or one that does not fit.
    """
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
        return template.render(supervisor=tuple(supervisor), setup=lines)
    except jinja2.TemplateNotFound:
        where = ", ".join(map(str, places))
        raise TemplateError(f"{TEMPLATE}: not found in {where}") from None
    except (jinja2.TemplateError, TypeError) as error:
        raise TemplateError(f"{TEMPLATE}: {error}") from error


def syntax_problem(setup: Sequence[str]) -> str | None:
    """What the shell has against the setup lines by themselves; None: nothing.

    The braces are those of the template, so that a line which would swallow what follows (an open
    quote, a here-document without its end, a backslash at the end) is found.
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
    # The brace in front is not among the person's lines.
    number = re.compile(r"(?<=line )\d+")
    return number.sub(lambda match: str(int(match[0]) - 1), messages[0].removeprefix(f"{_SHELL}: "))
