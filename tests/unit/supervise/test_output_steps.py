import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.job_comment import MAX_STEP
from slurm_restart.supervise import output_lines
from slurm_restart.supervise.output_steps import OutputSteps

PATTERN = r"step (\d+)"


def searched(data, pattern=PATTERN, size=7):
    steps = OutputSteps(pattern)
    for start in range(0, len(data), size):
        steps.feed(data[start : start + size])
    return steps.highest()


@pytest.mark.parametrize(
    ("data", "pattern", "highest"),
    [
        (b"", PATTERN, None),
        (b"step x\nother 5\n", PATTERN, None),
        (b"step 1\nstep 12\nstep 3\n", PATTERN, 12),
        (b"step 1\rstep 2\rstep 3", PATTERN, 3),
        (b"step 0\n", PATTERN, 0),
        (b"\x1b[1mst\x1b[0mep 8\nstep \x1b[1m9\x1b[0m\n", PATTERN, 9),
        (b"10/100\n 20/100\n", r"^ ?(\d+)/100", 20),
        (b"it 5\nIT 6\n", r"(?i)it (\d+)", 6),
        # A digit more than any step has.
        (b"step 1%d\nstep 4\n" % MAX_STEP, PATTERN, 4),
        (b"step %d\n" % MAX_STEP, PATTERN, MAX_STEP),
        (b"a step, no number\n", r"step(?:, (\d+))?", None),
        ("Schritt früh 7\n".encode(), r"früh (\d+)", 7),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_the_highest_step_is_found(data, pattern, highest, size):
    assert searched(data, pattern, size) == highest


def test_a_line_without_end_takes_bounded_memory_and_time():
    steps = OutputSteps(PATTERN)
    steps.feed(b"step 7 ")
    for _ in range(100):
        steps.feed(b"x" * 100_000)
    assert len(steps._lines.unfinished) <= output_lines.MAX_LINE
    assert steps.highest() == 7
    steps.feed(b"\nstep 8\n")
    assert steps.highest() == 8


@given(
    st.lists(st.sampled_from([b"step ", b"\n", b"\r", b"1", b"20", b"x", b"\r\n"]), max_size=40),
    st.integers(1, 9),
)
def test_cutting_the_output_changes_nothing(parts, size):
    data = b"".join(parts)
    found = [
        int(match[1]) for line in re.split(rb"[\r\n]", data)
        if (match := re.search(rb"step (\d+)", line)) and len(match[1]) <= 12
    ]  # fmt: skip
    assert searched(data, size=size) == max(found, default=None)


def test_expensive_output_is_left_out_and_the_search_goes_on_later():
    now, cpu = [0.0], [0.0]

    def spend():
        cpu[0] += 0.3
        return cpu[0]

    steps = OutputSteps(PATTERN, clock=lambda: now[0], cpu_clock=spend)
    for number in range(1, 100):
        steps.feed(b"step %d\n" % number)
    # 0.3 s a chunk, of 1 s that may be taken at once.
    assert steps.highest() == 4
    now[0] = output_lines.ALLOWANCE / output_lines.SHARE
    steps.feed(b"9 rest of a line that was left out\nstep 50\n")
    assert steps.highest() == 50
