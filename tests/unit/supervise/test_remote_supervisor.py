"""Whole supervisors of programs whose checkpoints are at a URL."""

import os
import signal
from dataclasses import replace

import pytest

from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout

ROOT = "s3://bucket/run"
# The first attempt saves 10, 20 and 30 and fails, as do those that start from a name in `bad`.
PROGRAM = """
url=$CSX_RESTART_CHECKPOINT
echo "started from '$url'"
case " {bad} " in *" ${{url##*/}} "*) echo "{error}" >&2; exit 1;; esac
if [ -z "$url" ]; then for n in 10 20 30; do echo "saved {root}/step-$n"; done; exit 9; fi
echo "saved {root}/step-40"
"""


@pytest.fixture
def remote(run):
    layout = CheckpointLayout(
        directory=ROOT, pattern=r"step-(?P<step>\d+)", format=CheckpointFormat.AUTO
    )
    run.set(checkpoint=layout, initial_checkpoint=None)
    return run


@pytest.fixture
def attempt(remote):
    def go(*bad, error="ValueError: bad value"):
        names = " ".join(f"step-{step}" for step in bad)
        return remote.run(PROGRAM.format(bad=names, error=error, root=ROOT))

    return go


def paths(run, number):
    return [saved.path for saved in run.dir.attempt(number).saved()]


def test_what_the_output_says_is_on_record_progress_and_where_the_next_attempt_starts(
    remote, attempt
):
    assert attempt(99).returncode == 9
    assert paths(remote, 0) == [f"{ROOT}/step-{n}" for n in (10, 20, 30)]
    end = remote.end_of(0)
    assert (end["step"], end["progress"]) == (30, True)
    assert "[run_1] " in remote.log()
    assert "checkpoint at step 20: step-20" in remote.log()
    done = attempt(99)
    assert done.returncode == 0
    assert f"started from '{ROOT}/step-30'" in done.stdout
    assert f"fit from {ROOT}/step-30, step 30" in remote.log()
    assert (remote.end_of(1)["category"], remote.end_of(1)["step"]) == ("completed", 40)


NO_KEY = (
    "botocore.exceptions.ClientError: An error occurred (NoSuchKey) when calling the GetObject "
    "operation: The specified key does not exist."
)


@pytest.mark.parametrize(
    "error",
    [
        "ValueError: bad value",
        f"FileNotFoundError: {ROOT}/step-30: no such object",
        NO_KEY,
        f"EOFError: {ROOT}/step-30 is truncated",
    ],
)
def test_the_checkpoint_before_is_used_after_a_failure(remote, attempt, error):
    attempt(30)
    attempt(30, error=error)
    assert "an earlier checkpoint before step 30 is next" in remote.end_of(1)["expected_decision"]
    done = attempt(30, error=error)
    assert f"started from '{ROOT}/step-20'" in done.stdout
    assert f"{ROOT}/step-30 is not used: attempt 1 started from it and failed" in remote.log()
    assert "set aside" not in remote.log()
    assert remote.end_of(2)["category"] == "completed"


def test_it_goes_back_twice_at_most(remote, attempt):
    for _ in range(5):
        attempt(10, 20, 30)
    assert [remote.start_of(n)["from_step"] for n in range(5)] == [0, 30, 20, 10, 30]


def test_a_killed_supervisor_has_recorded_it_or_the_next_attempt_does(remote, waits):
    remote.patched["supervise.checkpoint_monitor.INTERVAL"] = 1e6
    process = remote.start_ready(f"echo saved {ROOT}/step-70; echo ready; exec sleep 600")
    process.kill()
    waits(lambda: remote.alive() == {}, "nothing left")
    assert paths(remote, 0) == []
    assert remote.run("exit 3").returncode == 3
    assert remote.start_of(1)["checkpoint"] == f"{ROOT}/step-70"
    assert paths(remote, 0) == [f"{ROOT}/step-70"]
    assert (remote.end_of(0)["step"], remote.end_of(0)["progress"]) == (70, True)


def test_a_new_one_is_seen_while_the_program_runs(remote, waits):
    remote.patched["supervise.checkpoint_monitor.INTERVAL"] = 0.1
    process = remote.start_ready(f"echo saved {ROOT}/step-70; echo ready; exec sleep 600")
    waits(lambda: paths(remote, 0), "the record")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 143


def test_standard_error_says_it_too(remote):
    remote.run(f"echo saved {ROOT}/step-70 >&2; exit 1")
    assert paths(remote, 0) == [f"{ROOT}/step-70"]


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        (None, f"line such as 'Saved checkpoint {ROOT}/step-{{step}}'"),
        ("x (?P<path>.+)", f"line that matches 'x (?P<path>.+)' and names {ROOT}/step-{{step}}"),
    ],
)
def test_a_run_without_any_is_told_which_line_is_looked_for(remote, saved, expected):
    layout = replace(remote.plan.checkpoint, warn_after=0, written="step-{step}", saved=saved)
    remote.set(checkpoint=layout)
    remote.patched["supervise.checkpoint_monitor.INTERVAL"] = 0.1
    remote.run(f"until grep -q 'no checkpoint seen' '{remote.dir.log}'; do sleep 0.1; done; exit 3")
    (warning,) = remote.dir.attempt(0).warnings()
    assert warning == f"no checkpoint seen for 0 min: the output has had no {expected}"
