"""Read a batch script of the user's: its interpreter, and its `#SBATCH` and `#CSX` lines."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from slurm_restart.errors import ConfigError, UsageError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import FileTooLargeError, open_binary, read_bounded

SHEBANG = b"#!"
MAX_BYTES = 64 << 20
WRAPPED, STDIN = "wrap", "stdin"
"""Names of the script of --wrap, and of one from standard input."""
_SBATCH, _CSX = "#SBATCH", "#CSX"
_FOREIGN = re.compile(r"#(PBS|BSUB)\s+-")
_BLANK = " \t\n\v\f\r"
"""What isspace(3) accepts, which is not what Python calls a space."""


@frozen
class Directive:
    """The words of one `#SBATCH` or `#CSX` line."""

    line: int
    """From 1."""
    words: tuple[str, ...]


@frozen
class BatchScript:
    """A batch script, as it was when it was read."""

    path: str
    """As the user gave it, for messages."""
    data: bytes
    interpreter: tuple[str, ...]
    """The program of the `#!` line, and its argument if it has one."""
    sbatch: tuple[Directive, ...] = ()
    restart: tuple[Directive, ...] = ()
    name: str
    """Name of the file; the job's name unless another is given."""
    foreign: str | None = None
    """Place and kind of a line with options of another batch system, such as `job.sh:2: #PBS`."""


def find_script(name: str, environ: Mapping[str, str]) -> Path:
    """Return the path of a script: in the current directory, else where sbatch looks, in PATH."""
    path = Path(name)
    if name.startswith((".", "/")) or os.path.lexists(path):
        return path
    places = (Path(folder) / name for folder in environ.get("PATH", "").split(":") if folder)
    return next((place for place in places if is_script(place)), path)


def is_script(path: Path) -> bool:
    """Return whether the first two bytes of a regular file are `#!`; False if it is not there."""
    try:
        with open_binary(path) as stream:
            return stream.read(len(SHEBANG)) == SHEBANG
    except OSError:
        return False


def read_script(path: Path) -> BatchScript:
    """Read a batch script.

    Raises:
        UsageError: it cannot be read, or it is no script that sbatch would take.
        ConfigError: a `#SBATCH` or `#CSX` line is not well-formed; all problems.
    """
    try:
        data = read_bounded(path, MAX_BYTES)
    except FileTooLargeError as error:
        raise UsageError(f"{path}: {error.strerror} in a batch script") from None
    except OSError as error:
        raise UsageError(f"{path}: the batch script cannot be read: {error.strerror}") from None
    return parse_script(data, str(path))


def wrapped_script(command: str) -> BatchScript:
    """Return the script of --wrap."""
    text = f"#!/bin/sh\n# Written by csx-sbatch --wrap.\n\n{command}\n"
    return parse_script(os.fsencode(text), WRAPPED)


def parse_script(data: bytes, path: str) -> BatchScript:
    """Parse the content of a batch script; `path` is its name in messages.

    Raises:
        UsageError, ConfigError: as `read_script`.
    """
    first = os.fsdecode(data.partition(b"\n")[0].removeprefix(SHEBANG)).strip(" \t")
    if not data.startswith(SHEBANG) or not first:
        raise UsageError(
            f"{path}: expected a first line with #! and the path of an interpreter, such as "
            "#!/bin/bash"
        )
    if b"\0" in data:
        raise UsageError(f"{path}: expected a script without NUL characters")
    if b"\r\n" in data:
        raise UsageError(
            f"{path}: expected lines that end as in UNIX, got DOS line breaks (\\r\\n)"
        )
    # As Linux reads it: the program, and the rest of the line as one argument.
    program, *argument = re.split(r"[ \t]+", first, maxsplit=1)
    lines = list(_comment_lines(data))
    problems: list[str] = []
    foreign = [
        f"{path}:{number}: {found[0].split()[0]}"
        for number, text in lines
        if (found := _FOREIGN.match(text))
    ]
    script = BatchScript(
        path=path,
        data=data,
        interpreter=(program, *argument),
        name=Path(path).name,
        sbatch=_directives(lines, path, _SBATCH, problems),
        restart=_directives(lines, path, _CSX, problems),
        foreign=foreign[0] if foreign else None,
    )
    if problems:
        raise ConfigError(path, problems)
    return script


def _comment_lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield the lines before the first command, with their numbers: sbatch reads no further."""
    for number, line in enumerate(data.split(b"\n"), 1):
        text = os.fsdecode(line)
        if text.strip(_BLANK) and not text.lstrip(_BLANK).startswith("#"):
            return
        yield number, text


def _directives(
    lines: list[tuple[int, str]], path: str, mark: str, problems: list[str]
) -> tuple[Directive, ...]:
    """Return the lines that begin with `mark`, in its case and in the first column."""
    found = []
    for number, text in lines:
        rest = text.removeprefix(mark)
        # sbatch takes a text that adjoins #SBATCH too; #CSX_HOME is a comment.
        if rest == text or (mark == _CSX and rest[:1] not in ("", "-", *_BLANK)):
            continue
        try:
            words = tuple(split_words(rest, like_shell=mark == _CSX))
        except ValueError as error:
            problems.append(f"{path}:{number}: {mark}: {error}")
            continue
        found.append(Directive(line=number, words=words))
    return tuple(found)


def split_words(text: str, *, like_shell: bool = False) -> Iterator[str]:
    r"""Yield the words of a `#SBATCH` line as sbatch splits them.

    Quotes of both kinds group, a backslash takes the next character as it is (in quotes too), and
    an unquoted `#` begins a comment, even inside a word (src/sbatch/opt.c, get_argument).

    Args:
        text: the line behind its mark.
        like_shell: a backslash in single quotes stands for itself, as in a shell: `#CSX` lines
            have regular expressions.

    Raises:
        ValueError: a quote without its end.
    """
    rest = iter(text.lstrip(_BLANK))
    word, quote, begun = "", "", False
    for char in rest:
        if char == "\\" and not (like_shell and quote == "'"):
            word += next(rest, "")
            begun = True
        elif quote:
            word, quote = (word, "") if char == quote else (word + char, quote)
        elif char in "\"'":
            quote, begun = char, True
        elif char == "#":
            break
        elif char in _BLANK:
            if begun:
                yield word
            word, begun = "", False
        else:
            word, begun = word + char, True
    if quote:
        raise ValueError(f"expected the quote {quote} to be closed")
    if begun:
        yield word
