"""Which lines of its output a program has survived, as its checkpoints show."""

import pytest

from slurm_restart.supervise import progress_marks
from slurm_restart.supervise.progress_marks import APART, ProgressMarks


@pytest.mark.parametrize(
    ("seen", "went_on"),
    [
        ([], 0),
        # What is seen may be older than the lines before it.
        ([(0.0, 5)], 0),
        ([(0.0, 5), (APART, 9)], 5),
        ([(0.0, 5), (APART, 9), (2 * APART, 20)], 9),
        # Two at one look are one.
        ([(0.0, 5), (0.1, 9)], 0),
        ([(0.0, 5), (APART, 9), (APART + 0.1, 12)], 5),
    ],
)
def test_the_lines_before_the_last_but_one(
    monkeypatch: pytest.MonkeyPatch, seen: list[tuple[float, int]], went_on: int
) -> None:
    times, lines = iter([at for at, _ in seen]), dict(seen)
    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now = next(times)
        return now

    monkeypatch.setattr(progress_marks.time, "monotonic", monotonic)
    marks = ProgressMarks(lambda: lines[now])
    for _ in seen:
        marks.note()
    assert marks.went_on == went_on
