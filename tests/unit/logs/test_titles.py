"""A title announces a failure, and the next line with words says why: own texts."""

import pytest

from slurm_restart.core.category import Category
from slurm_restart.logs.scanner import LogScanner
from slurm_restart.logs.titles import MAX_LINES, MAX_OPEN

from .judge_text import MATCHER, judge_text

STEPS = "".join(f"step {number} | loss 2.1\n" for number in range(300))


FOAM = "--> FOAM FATAL ERROR: \n"
BAR = " %%%%%%%%%%%%%%%%%%%%\n"
ENDED = "srun: error: n3: task 0: Exited with exit code 1\n"


@pytest.mark.parametrize(
    ("category", "text", "reason"),
    [
        (Category.CONFIG, FOAM + "no patch of the name inlet9\n", "no patch of the name inlet9"),
        (
            Category.CONFIG,
            "--> FOAM FATAL ERROR: (openfoam-2512 patch=1)\nthe cell zone is empty\n",
            "the cell zone is empty",
        ),
        (
            Category.CONFIG,
            "--> FOAM FATAL IO ERROR: \nkeyword nu9 has no value\n",
            "keyword nu9 has no value",
        ),
        (
            Category.CONFIG,
            "[3] \n[3] \n[3] --> FOAM FATAL ERROR: \n[1] \n[3] a region has no face\n",
            "[3] a region has no face",
        ),
        (
            Category.CONFIG,
            f"{BAR}     Error in routine setup_k (2):\n     a k point of weight nought\n{BAR}",
            "a k point of weight nought",
        ),
        (
            Category.CONFIG,
            f"{BAR}     Error in routine read_card (4):\n\n     too few positions\n{BAR}",
            "too few positions",
        ),
        (
            Category.UNKNOWN,
            f"{BAR}     Error in routine cdiaghg (7):\n     eigenvectors of bad quality\n{BAR}",
            "eigenvectors of bad quality",
        ),
        (
            Category.CONFIG,
            "Fatal error:\nThe pull group of the box fell apart\n\nFor more, see the manual\n",
            "The pull group of the box fell apart",
        ),
        (
            Category.CONFIG,
            "Error in user input:\nThe option -xyz needs a value\n",
            "The option -xyz needs a value",
        ),
        (
            Category.CONFIG,
            (
                "-------------- FATAL CALLED ---------------\n"
                "FATAL CALLED FROM FILE:  <stdin>  LINE:     77\n"
                " boundary data end before the run\n"
                "-------------------------------------------\n"
            ),
            "boundary data end before the run",
        ),
        (
            Category.UNKNOWN,
            " *  ___   *\n * [ABORT]                      *\n *  \\___/    the box is odd    *\n",
            "*  \\___/    the box is odd    *",
        ),
        (
            Category.CONFIG,
            "3: Fatal error:\n4: Fatal error:\n4: 12 34\n3: the grid of rank 3 is odd\n",
            "3: the grid of rank 3 is odd",
        ),
    ],
)
def test_the_reason_is_the_line_below_the_title(category, text, reason):
    for size in (1 << 20, 7, 1):
        judged = judge_text(text + ENDED, size=size)
        assert judged.category is category or judged.category.recoverable
        assert judged.root_cause.text == reason
        assert text.splitlines()[judged.root_cause.line - 1].strip() == reason


@pytest.mark.parametrize(
    ("category", "reason"),
    [
        (Category.STORAGE_FULL, "write to /s/u/out.0: No space left on device"),
        (Category.STORAGE_IO, "read of /s/u/in.0: Input/output error"),
        (Category.OOM_HOST, "std::bad_alloc"),
        (Category.DEVICE_OOM, "CUDA error: out of memory"),
        (Category.HARDWARE_ACCELERATOR, "CUDA error: uncorrectable ECC error encountered"),
    ],
)
def test_a_reason_that_a_rule_knows_is_judged_by_it(category, reason):
    for title in (FOAM, "Fatal error:\n", "     Error in routine davcio (10):\n"):
        judged = judge_text(f"{title}{reason}\n{ENDED}")
        assert (judged.category, judged.root_cause.text) == (category, reason)


def test_a_title_at_the_end_of_a_log_stands_for_itself():
    judged = judge_text(FOAM)
    assert judged.root_cause.text == "--> FOAM FATAL ERROR:"
    assert judge_text(FOAM + "\n \n%%%%\n").root_cause.text == "--> FOAM FATAL ERROR:"


def test_a_reason_that_does_not_follow_is_not_waited_for():
    others = "".join(f"[{rank}] result of the rank\n" for rank in range(2, MAX_LINES + 9))
    judged = judge_text(f"[1] {FOAM}{others}[1] much later words\n")
    assert judged.root_cause.text == "[1] --> FOAM FATAL ERROR:"


def test_many_titles_at_once_are_bounded():
    titles = "".join(f"[{rank}] {FOAM}" for rank in range(2 * MAX_OPEN))
    scanner = LogScanner(MATCHER)
    scanner.feed(titles.encode())
    assert len(scanner._blocks.reader.titles.open) <= MAX_OPEN
    assert scanner.findings()


def test_after_long_progress_a_title_stops_no_run():
    judged = judge_text(f"{STEPS}{FOAM}a face has no area\n{ENDED}")
    assert judged.category.recoverable
    assert judged.root_cause.text == "a face has no area"


def test_a_traceback_below_a_title_is_read_as_one():
    text = 'Fatal error:\nTraceback (most recent call last):\n  File "t.py", line 3\n'
    judged = judge_text(f"{text}NameError: name 'x' is not defined\n")
    assert judged.root_cause.text == "NameError: name 'x' is not defined"
    assert judged.category is Category.CODE
