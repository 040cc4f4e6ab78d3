"""The tables that `csx-restart status` prints, and their cells."""

from collections.abc import Iterable, Sequence

from slurm_restart.core.job import Job
from slurm_restart.core.printable import escape_controls
from slurm_restart.core.progress_unit import ProgressUnit


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return lines with columns of equal width; control characters of the cells are escaped."""
    shown = [tuple(map(escape_controls, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *shown)
    )


def state_of(job: Job) -> str:
    """Return the state of a job as squeue shows it, with COMPLETING beside the base state."""
    state = job.state.value if job.state else "COMPLETING"
    return f"{state}+COMPLETING" if job.completing and job.state else state


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
