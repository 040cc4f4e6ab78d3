"""Which process ended first, and what a program that was killed had gone on after."""

import pytest

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.first_death import SERIES
from slurm_restart.core.program_start import KnownProgress
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import LogScanner, make_matcher

NOT_KNOWN = KnownProgress()
EXITED = "Exited with exit code 77"
MATCHER = make_matcher(load_rules(site=None))
STEPS = "".join(f"step {step} loss 0.5\n" for step in range(40))
FULL = "WARNING could not write the cache: [Errno 28] No space left on device, going on\n"
MEMORY = "torch.cuda.OutOfMemoryError: CUDA out of memory. -> halving the micro batch\n"
TIMEOUT = "requests.exceptions.ReadTimeout: host='huggingface.co': Read timed out. retry 1\n"
RAISED = (
    'Traceback (most recent call last):\n  File "t.py", line 3, in <module>\n    save()\n'
    "OSError: [Errno 28] No space left on device\n"
)
KILLED = "job.sh: line 7:    27 Killed                  python train.py\n"
ENDING = "srun: forcing job termination\nsrun: Job step aborted: Waiting up to 7 seconds\n"


def task(number: int, how: str = "Killed") -> str:
    return f"srun: error: csx{number + 1}: task {number}: {how}\n"


def judged(text: str, *, exit_code: int = 137, progress: KnownProgress = NOT_KNOWN) -> Attribution:
    scanner = LogScanner(MATCHER)
    scanner.feed(text.encode())
    facts = ExitFacts(exit_code=exit_code, progress=progress, nodes=("csx1", "csx2"))
    return attribute_log(facts, scanner.findings())


@pytest.mark.parametrize(
    ("text", "root"),
    [
        (task(1) + ENDING + task(0), task(1)),
        # What the other tasks print until they are ended.
        (task(1) + STEPS + ENDING + task(0), task(1)),
        (
            task(0, EXITED) + STEPS + ENDING + task(1),
            task(0, EXITED),
        ),
        (task(0, "Terminated") + ENDING + task(1), task(0, "Terminated")),
        # A step before it, of a script that tolerated that.
        (task(1) + "step 7\n" * (SERIES + 1) + task(0), task(0)),
    ],
)
def test_the_task_that_srun_reports_first_is_the_cause(text: str, root: str) -> None:
    found = judged(STEPS + text)
    assert found.category is Category.UNKNOWN
    assert found.root_cause is not None
    assert found.root_cause.text == root.strip()


@pytest.mark.parametrize("error", [FULL, MEMORY, TIMEOUT])
@pytest.mark.parametrize(
    "end", [KILLED, "", task(0), task(0) + ENDING + task(1), "exits with return code = -9\n"]
)
def test_a_killed_program_had_gone_on_after_an_error(error: str, end: str) -> None:
    found = judged(error + STEPS + end)
    assert found.category is Category.UNKNOWN
    assert found.root_cause is None or error.strip() != found.root_cause.text


@pytest.mark.parametrize(
    ("text", "exit_code", "category"),
    [
        # No progress came after it.
        (STEPS + FULL + KILLED, 137, Category.STORAGE_FULL),
        (STEPS + MEMORY, 137, Category.DEVICE_OOM),
        # It may have been killed because a task had ended by itself.
        (
            FULL + STEPS + task(0, EXITED) + ENDING + task(1),
            137,
            Category.STORAGE_FULL,
        ),
        # After an exception that ended a rank, its buffer is printed.
        (RAISED + STEPS + KILLED, 137, Category.STORAGE_FULL),
        (FULL + STEPS, 1, Category.STORAGE_FULL),
    ],
)
def test_else_the_error_is_the_cause(text: str, exit_code: int, category: Category) -> None:
    assert judged(text, exit_code=exit_code).category is category


@pytest.mark.parametrize(
    ("text", "lines", "category"),
    [
        (RAISED + STEPS, 4, Category.UNKNOWN),
        (RAISED + STEPS, 3, Category.STORAGE_FULL),
        (FULL + STEPS, 1, Category.UNKNOWN),
        # Hardware may fail later than its first message.
        ("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n" + STEPS, 9, None),
    ],
)
def test_a_program_that_made_progress_has_survived_what_it_printed_before(
    text: str, lines: int, category: Category | None
) -> None:
    found = judged(text, exit_code=1, progress=KnownProgress(went_on=lines))
    assert found.category is (category or Category.HARDWARE_ACCELERATOR)
