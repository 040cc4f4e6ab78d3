"""The tables that commands print: columns that fit the width, no break inside a word."""

import unicodedata
from collections.abc import Sequence

from slurm_restart.core.job import Job
from slurm_restart.core.printable import escape_controls
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.frozen import frozen

GAP = "  "
ELLIPSIS = "…"
_LEAST_TEXT = 16
"""Columns of the terminal that a text column gets at least, or it is left out."""


@frozen
class Column:
    """A column of a table.

    Attributes:
        head: its heading.
        rank: of columns that do not fit, those of the highest rank are left out; 0 never is.
        is_text: sentences, which are shortened to what is left of the line if they are the last.
    """

    head: str
    rank: int = 0
    is_text: bool = False


def fit_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int | None
) -> str:
    """Return a table with the columns that fit; control characters of the cells are escaped.

    Args:
        columns: in order; those that are empty in all rows and have a rank are left out.
        rows: a cell for each column.
        width: of a line; None: no limit, as for a pipe.
    """
    shown = [tuple(map(escape_controls, row)) for row in rows]
    cells = list(zip(*((column.head for column in columns), *shown), strict=True))
    kept = [
        index
        for index, column in enumerate(columns)
        if not shown or not column.rank or any(cell not in ("", "-") for cell in cells[index][1:])
    ]
    widths = [max(map(cell_width, column)) for column in cells]
    while width is not None and _needed(columns, widths, kept) > width:
        dropped = max(kept, key=lambda index: (columns[index].rank, index))
        if columns[dropped].rank == 0:
            break
        kept.remove(dropped)
    lines = zip(*(_column(cells[index], widths[index]) for index in kept), strict=True)
    return "\n".join(_line(line, width, is_text=columns[kept[-1]].is_text) for line in lines)


def _needed(columns: Sequence[Column], widths: Sequence[int], kept: Sequence[int]) -> int:
    whole = sum(widths[index] for index in kept) + len(GAP) * (len(kept) - 1)
    last = kept[-1]
    return whole - max(0, widths[last] - _LEAST_TEXT) if columns[last].is_text else whole


def _column(cells: Sequence[str], width: int) -> list[str]:
    return [cell + " " * (width - cell_width(cell)) for cell in cells]


def _line(cells: Sequence[str], width: int | None, *, is_text: bool) -> str:
    line = GAP.join(cells).rstrip()
    if width is None or not is_text or cell_width(line) <= width:
        return line
    before = GAP.join((*cells[:-1], ""))
    return (before + shorten(cells[-1].rstrip(), width - cell_width(before))).rstrip()


def shorten(text: str, width: int) -> str:
    """Return the words of a text that fit, followed by `…`; only `…` if the first does not."""
    if cell_width(text) <= width:
        return text
    kept: list[str] = []
    for word in text.split(" "):
        if cell_width(" ".join((*kept, word))) + 1 + len(ELLIPSIS) > width:
            break
        kept.append(word)
    return " ".join((*kept, ELLIPSIS))


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def state_of(job: Job) -> str:
    """Return the state of a job as squeue shows it, with COMPLETING beside the base state."""
    state = job.state.value if job.state else "COMPLETING"
    return f"{state}+COMPLETING" if job.completing and job.state else state


def reason_of(reason: str | None) -> str:
    """Return Slurm's reason why a job waits or has ended; `-`: it names none."""
    return "-" if reason in (None, "", "None") else reason


def position(step: int | None, unit: str | None) -> str:
    """Return a step with its unit, which is left out for steps; `-`: not known.

    Args:
        step: number of units.
        unit: the value of a `ProgressUnit`.
    """
    if step is None or unit is None:
        return dash(step)
    return ProgressUnit(unit).format(step).removeprefix("step ")


def dash(value: object) -> str:
    """Return the text of a value, `-` for None."""
    return "-" if value is None else str(value)
