"""Events that say what the journal says already are left out, and no others."""

import pytest

from slurm_restart.control.repeated_events import without_repeats
from slurm_restart.core.journal_events import (
    AppliedEvent,
    Event,
    ExcludeEvent,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
    ReadmitEvent,
    StaleRunningEvent,
)
from tests.unit.core.facts import ended

END = ended()
NOTE = NoteEvent(at=1, text="a")
PERSON = NoteEvent(at=1, text="a", who="root")
INTEND = IntendEvent(at=1, submit_time=1, operations=("hold",))
OTHER = IntendEvent(at=1, submit_time=1, operations=("release",))
NEXT_END = IntendEvent(at=1, submit_time=2, operations=("hold",))
REFUSED = OutcomeEvent(at=1, submit_time=1, done=(), failed="hold: refused")
DIFFERENTLY = OutcomeEvent(at=1, submit_time=1, done=(), failed="hold: timed out")
DONE = OutcomeEvent(at=1, submit_time=1, done=("hold",))
EMPTY = AppliedEvent(at=1)


@pytest.mark.parametrize(
    ("known", "new", "added"),
    [
        ([], [NOTE, NOTE], [NOTE]),
        ([NOTE, NoteEvent(at=2, text="b")], [NoteEvent(at=3, text="a")], []),
        ([NOTE, END], [NOTE], [NOTE]),
        ([NOTE], [END, NOTE], [END, NOTE]),
        ([NOTE, PERSON], [PERSON], [PERSON]),
        ([INTEND], [INTEND], []),
        ([INTEND, REFUSED], [INTEND], []),
        ([INTEND, REFUSED], [REFUSED], []),
        ([INTEND, REFUSED, NOTE], [REFUSED], []),
        ([INTEND, REFUSED], [DIFFERENTLY], [DIFFERENTLY]),
        ([INTEND, REFUSED, DIFFERENTLY], [REFUSED], [REFUSED]),
        ([INTEND, REFUSED], [OTHER], [OTHER]),
        ([INTEND, REFUSED, OTHER], [INTEND], [INTEND]),
        ([INTEND, REFUSED, OTHER], [REFUSED], [REFUSED]),
        ([INTEND, REFUSED], [NEXT_END], [NEXT_END]),
        ([INTEND, DONE], [INTEND], [INTEND]),
        ([INTEND, REFUSED, END], [INTEND, REFUSED], [INTEND, REFUSED]),
        ([INTEND, DONE], [DONE], [DONE]),
        ([], [EMPTY], []),
        ([AppliedEvent(at=1, held=True)], [AppliedEvent(at=1, held=True)], None),
        ([ReadmitEvent(at=1, node="a", why="")], [ReadmitEvent(at=1, node="a", why="")], None),
        ([StaleRunningEvent(at=1, submit_time=1)], [StaleRunningEvent(at=9, submit_time=1)], None),
        (
            [ExcludeEvent(at=1, node="a", until=2, evidence="", submit_time=1)],
            [ExcludeEvent(at=1, node="a", until=2, evidence="", submit_time=1)],
            None,
        ),
        ([END], [END], None),
    ],
)
def test_rows(known: list[Event], new: list[Event], added: list[Event] | None) -> None:
    assert without_repeats(known, new) == (new if added is None else added)
