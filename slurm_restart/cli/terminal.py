"""What the terminal can show: its width, colours, and lines wrapped between words."""

import os
import re
import sys
from collections.abc import Iterable

from slurm_restart.cli.table import cell_width

NARROWEST = 40


def output_width() -> int | None:
    """Return how wide lines may be: COLUMNS, else the terminal's; None: no limit, as in a pipe."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdecimal() and int(columns):
        return max(NARROWEST, int(columns))
    try:
        return max(NARROWEST, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):  # no terminal, or no file
        return None


def has_colours() -> bool:
    """Return whether stdout is a terminal, and NO_COLOR (no-color.org) is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty()


def wrap_lines(lines: Iterable[str], width: int | None, indent: int) -> list[str]:
    """Return lines broken between words only, and continued with an indent.

    Args:
        lines: printable lines, with the first words of each up to `indent` in columns.
        width: None: no limit.
        indent: blanks before what continues a line.
    """
    if width is None:
        return list(lines)
    return [part for line in lines for part in _wrap(line, width, indent)]


def _wrap(line: str, width: int, indent: int) -> list[str]:
    if cell_width(line) <= width:
        return [line]
    parts, current = [], ""
    for word in re.findall(" *[^ ]+", line):
        # A word that no line can hold, such as a path, stays beside what names it.
        fits_below = indent + cell_width(word.lstrip()) <= width
        if current.strip() and fits_below and cell_width(current + word) > width:
            parts.append(current)
            current = " " * indent + word.lstrip()
        else:
            current += word
    return [*parts, current]
