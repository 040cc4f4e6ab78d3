import time

import pytest

from slurm_restart.core.category import Category
from slurm_restart.supervise.cancelled_batch import RULE, refuse_cancelled
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.run_over import RunOverError
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, to_json

BEGAN = time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1)) + 0.7
JOB = JobEnvironment(job_id=7, restarts=1, nodes=("csx1",), num_nodes=1, node_name="csx1")
LINE = "slurmstepd-csx1: error: *** JOB 7 ON csx1 CANCELLED AT 2026-03-01T12:00:09 ***\n"


@pytest.fixture
def refuse(run, tmp_path):
    """Begin an attempt after one that has left no end; return what was logged."""
    made = run.dir.new_attempt()
    made.start_file.write_bytes(
        to_json(
            AttemptStart(
                attempt=0,
                at=BEGAN,
                job_id=7,
                restarts=0,
                nodes=("csx1",),
                num_csx=2,
                checkpoint=None,
                from_step=0,
                resumed=False,
                first_step=0,
                last_step=None,
            )
        )
    )
    log = tmp_path / "slurm-7.out"

    def refuse(text, *, job=JOB):
        log.write_text(text)
        logged = []
        refuse_cancelled(run.dir, job, lambda *said: logged.append(said), slurm_log=str(log))
        return logged

    return refuse


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        LINE.replace("slurmstepd-csx1", "slurmstepd"),
        # 26.05
        LINE.replace("slurmstepd-csx1:", "[2026-03-01T12:00:09.047]").replace(
            " ***\n", " DUE to SIGNAL Killed ***\n"
        ),
        LINE.replace("12:00:09", "12:00:00"),
        LINE + "what a program says later\n" * 100,
        LINE.replace("12:00:09", "11:00:09") + LINE,
    ],
)
def test_a_cancellation_of_the_attempt_before_ends_the_run(refuse, run, line):
    with pytest.raises(RunOverError, match="a person ended the batch script") as raised:
        refuse(f"Step=1\n{line}")
    assert raised.value.category is Category.CANCELLED
    [attempt] = run.dir.attempts()
    end = attempt.end()
    assert (end.category, end.rule, end.backfilled) == ("cancelled", RULE, True)
    assert end.expected_decision == f"leave ({end.reason})"
    # A start after that is a person's decision.
    assert refuse(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "",
        LINE.replace("JOB 7", "JOB 77"),
        LINE.replace("JOB 7", "STEP 7.0"),
        LINE.replace("12:00:09", "11:59:59"),
        LINE.replace("12:00:09", "99:00:09"),
        LINE.replace(" ***\n", " DUE TO TIME LIMIT ***\n"),
        LINE.replace(" ***\n", " DUE TO PREEMPTION ***\n"),
        LINE.replace(" ***\n", " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***\n"),
        LINE.replace("slurmstepd-csx1: error: ", ""),
    ],
)
def test_nothing_else_does(refuse, run, line):
    assert refuse(line) == []
    assert run.dir.attempts()[0].end() is None


def test_an_end_on_record_and_a_restart_in_place_are_not_judged_anew(refuse, run):
    assert (
        refuse(LINE, job=JobEnvironment(job_id=7, restarts=1, nodes=(), num_nodes=1, in_place=1))
        == []
    )
    assert refuse(LINE, job=JobEnvironment(job_id=8, restarts=1, nodes=(), num_nodes=1)) == []
    [attempt] = run.dir.attempts()
    end = AttemptEnd(attempt=0, at=BEGAN + 60, category="code", rule="r", reason="own")
    attempt.end_file.write_bytes(to_json(end))
    assert refuse(LINE) == []


def test_without_a_file_nothing_is_known(run):
    refuse_cancelled(run.dir, JOB, pytest.fail, slurm_log="/dev/null")
