"""Reading and replaying the journals of runs of different length: the time is to be linear."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from slurm_restart.control.journal import RunKey, journal_path, open_journal, to_line
from slurm_restart.core.category import Category
from slurm_restart.core.journal_events import Action, EndEvent, Event, NoteEvent

KEY = RunKey(cluster="bench", job_id=1, uid=1000, run="0123456789abcdef")
BEGUN = 1_700_000_000


def ends(count: int) -> list[Event]:
    """A run that was restarted so often."""
    return [
        EndEvent(
            at=BEGUN + number,
            submit_time=BEGUN + number,
            restarts=number,
            requeued=False,
            category=Category.UNKNOWN,
            rule="exit.nonzero",
            action=Action.REQUEUE,
            reason="restart 1 of 3 without progress",
            attempt=number,
            from_step=number,
            step=number + 1,
            nodes=("csx1", "csx2", "csx3", "csx4"),
        )
        for number in range(count)
    ]


def notes(count: int) -> list[Event]:
    """A run with so many different notes."""
    return [NoteEvent(at=BEGUN + n, text=f"a person's hold is respected {n}") for n in range(count)]


def seconds(events: Sequence[Event], repeats: int) -> dict[str, float]:
    """Return the median seconds of opening and replaying a journal, at first and later."""
    text = "".join(to_line(event) + "\n" for event in events)
    first: list[float] = []
    later: list[float] = []
    for _ in range(repeats):
        with TemporaryDirectory() as folder:
            path = journal_path(Path(folder), KEY)
            path.parent.mkdir(parents=True)
            path.write_text(text)
            for taken in (first, later):
                begun = time.monotonic()
                with open_journal(Path(folder), KEY) as journal:
                    _ = journal.history
                taken.append(time.monotonic() - begun)
    return {"first": statistics.median(first), "later": statistics.median(later)}


KINDS: dict[str, tuple[Callable[[int], list[Event]], int]] = {
    "ends": (ends, 4_000),
    "notes": (notes, 100_000),
}


def bench(repeats: int) -> dict[str, dict[str, float]]:
    """Return seconds by kind and number of events; the first opening may write a journal anew."""
    return {
        f"{count} {name}": seconds(make(count), repeats)
        for name, (make, most) in KINDS.items()
        for count in (most // 4, most)
    }
