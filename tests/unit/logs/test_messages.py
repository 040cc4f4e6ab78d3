"""Where no rule knows the cause, a line with the words of a failure is shown; it stops nothing."""

import pytest

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.category import Category
from slurm_restart.logs.scanner import LogScanner

from .judge_text import MATCHER, judge_text

PROGRESS = "".join(f"step {number} | loss 2.{number}\n" for number in range(1, 400))


def root_of(text: str, exit_code: str = "1:0") -> str | None:
    cause = judge_text(text, exit_code).root_cause
    return None if cause is None else cause.text


@pytest.mark.parametrize(
    "line",
    [
        "halo exchange: the update of block 7 has failed",
        "The daemon of the mesh service has died",
        "The rotation of the frame has failed",
        "scratch pool: unable to reserve 40 slots",
    ],
)
def test_a_line_that_no_rule_knows_is_the_root(line: str) -> None:
    text = f"starting\n{line}\nsrun: error: n3: task 7: Exited with exit code 1\n"
    judged = judge_text(text)
    assert judged.root_cause is not None
    assert judged.root_cause.text == line
    assert judged.category is Category.UNKNOWN
    assert judged.recoverable


def test_the_first_message_of_the_last_failure_is_the_root() -> None:
    early = "plugin of the profiler: not found, going on\n"
    text = early + PROGRESS + "exchange failed on block 7\nunable to finish the cycle\n"
    assert root_of(text) == "exchange failed on block 7"


def test_a_known_cause_stands_above_messages() -> None:
    text = "exchange failed on block 7\nMemoryError\n"
    assert root_of(text) == "MemoryError"


def test_the_text_of_a_launcher_is_no_message() -> None:
    text = """\
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
"""
    assert root_of(text) == "Primary job  terminated normally, but 1 process returned"


def test_a_consequence_with_a_category_stands_above_messages() -> None:
    text = (
        "n1: [0] misc/socket.cc:99 NCCL WARN socketProgress: Connection closed by remote peer n2\n"
    )
    judged = judge_text("exchange failed on block 7\n" + text)
    assert judged.category is not Category.UNKNOWN or judged.root_cause is not None


@pytest.mark.parametrize(
    "line", ["validation error: 0.25", "0 errors", "error rate 0.1", "Last error:"]
)
def test_measures_and_announcements_are_no_messages(line: str) -> None:
    assert root_of(f"starting\n{line}\n") is None


def test_what_the_program_says_before_it_aborts_is_the_cause() -> None:
    text = """\
--> FOAM FATAL IO ERROR:
the entry 'value' of the dictionary is missing

FOAM exiting

solver: src/array.h:438: get: Assertion `row < rows' failed.
Aborted (core dumped)
"""
    judged = judge_text(text, "134:0")
    assert judged.category is Category.CONFIG
    assert judged.root_cause is not None
    assert "the entry 'value'" in judged.root_cause.text


def test_an_exception_that_announces_gives_the_line_below() -> None:
    text = """\
Traceback (most recent call last):
  File "t.py", line 3, in <module>
FailedPreconditionError: From /job:worker/replica:0/task:0:
2 root error(s) found.
  (0) Failed precondition: the mesh is not initialised.
"""
    assert root_of(text) == "(0) Failed precondition: the mesh is not initialised."


def test_the_first_failure_of_torchrun_gives_its_row() -> None:
    text = """\
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
train.py FAILED
Failures:
[1]:
  host      : n5
  rank      : 1 (local_rank: 1)
  exitcode  : 1 (pid: 46)
Root Cause (first observed failure):
[0]:
  time      : 2026-01-05_10:00:00
  host      : n5
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 45)
"""
    assert root_of(text) == "exitcode  : 1 (pid: 45)"


def test_a_line_of_the_journal_is_judged_without_its_front() -> None:
    line = "Mar 17 09:34:55 n3 job.sh[388]: Program received signal SIGABRT: Process abort signal."
    assert root_of(f"{line}\n", "134:0") == line


def test_a_message_that_begins_as_an_error_stands_above_those_that_mention_one() -> None:
    text = "the error file of block 7 was opened\n ### ERROR: the halo of block 7\n"
    assert root_of(text) == "### ERROR: the halo of block 7"


def test_the_words_of_an_errno_alone_are_shown_with_the_line_above() -> None:
    text = (
        " ### ERROR: get_forcing: unable to go on with 'rain.3'\n     No such file or directory\n"
    )
    judged = judge_text(text)
    assert judged.root_cause is not None
    assert "rain.3" in judged.root_cause.text
    assert judged.root_cause.line == 1


def test_a_message_is_shown_where_neither_state_nor_exit_code_is_known() -> None:
    scanner = LogScanner(MATCHER)
    scanner.feed(b"starting\nexchange failed on block 7\n")
    judged = attribute_log(ExitFacts(), scanner.findings())
    assert judged.category is Category.UNKNOWN
    assert judged.root_cause is not None
    assert judged.root_cause.line == 2


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: (my_init) :: the namelist ends before all values were read",
        "2026-01-02 10:00:00 ERROR: unknown keyword solverr in the input",
        " *** ERROR: the parameter nx must be positive ***",
        "sqlite3.OperationalError: no such column: loss",
    ],
)
def test_a_program_that_refuses_its_input_at_the_start_is_stopped(line: str) -> None:
    assert not judge_text(f"starting\n{line}\n").recoverable
    assert judge_text(f"{PROGRESS}{line}\n").recoverable


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: cannot open the restart file rst.7",
        "ERROR: invalid device handle",
        "ERROR: the parameter server was lost: unknown peer",
        "mylib.errors.StoreError: the connection was lost",
        "RuntimeError: something new",
    ],
)
def test_an_error_that_infrastructure_can_cause_is_restarted(line: str) -> None:
    assert judge_text(f"starting\n{line}\n").recoverable


@pytest.mark.parametrize(
    "setup",
    [
        "CommandNotFoundError: Your shell has not been set up to use 'conda activate'.",
        "Lmod has detected the following error: unknown modules: mesh/7",
    ],
)
def test_what_a_script_survived_while_it_set_up_its_environment_is_not_the_cause(
    setup: str,
) -> None:
    error = "OSError: [Errno 101] Network is unreachable"
    text = f'{setup}\nstarting\nTraceback (most recent call last):\n  File "a.py"\n{error}\n'
    judged = judge_text(text)
    assert judged.category is Category.DEPENDENCY_SERVICE
    assert judged.root_cause is not None
    assert judged.root_cause.text == error


def test_an_error_that_is_only_passed_on_is_not_the_root() -> None:
    original = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 7.00 GiB."
    text = f"""\
Traceback (most recent call last):
  File "a.py", line 3, in <module>
torch.OutOfMemoryError: Caught OutOfMemoryError in replica 1 on device 1.
Original Traceback (most recent call last):
  File "b.py", line 5, in work
{original}
"""
    assert root_of(text) == original
