"""Supervisors that restart in place, on this machine and with a Slurm that only answers."""

import json
import signal
from dataclasses import replace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.job_comment import format_comment, parse_comment
from slurm_restart.core.recovery import Recovery
from slurm_restart.trainer.health_check import HealthCheck

# Each supervisor is a new process, so the job's Comment is in a file.
FAKE_SLURM = """
import json, os
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.process import Completed
from slurm_restart.supervise import supervisor_context
in_place = "CSX_RESTART_IN_PLACE" in os.environ
class FakeSlurm:
    def job(self, job_id):
        with open({path!r}) as stream:
            comment = json.loads(stream.readlines()[-1])
        return Job(
            job_id=job_id, uid=1, state=JobState.RUNNING, comment=comment, submit_time=1000,
            nodes=("csx1",), priority=1, requeue=False
        )
    def nodes(self):
        return (NodeState(name="csx1", state="ALLOCATED"),)
    def nodes_named(self, names):
        return self.nodes()
    def check_nodes(self, job_id, nodes, command, *, timeout):
        failure = "fan 3 stands still" if in_place else None
        answer = {{"node": "csx1", "failure": failure, "check": "command", "notes": []}}
        return Completed(0, json.dumps(answer), "")
    def others_wait(self, job):
        return False
    def cluster_facts(self):
        return ClusterFacts(kill_wait=600)
    def update(self, job_id, fields):
        if os.path.exists({path!r} + ".refused"):
            raise SlurmUnavailableError("no answer")
        with open({path!r}, "a") as stream:
            stream.write(json.dumps(fields["Comment"]) + chr(10))
supervisor_context.cluster_of = lambda plan: FakeSlurm()
"""
JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "csx1", "SLURMD_NODENAME": "csx1"}


@pytest.fixture
def comments(run, tmp_path):
    """The comment records that the supervisors have written, after the one at submission."""
    path = tmp_path / "comments"
    run.setup = FAKE_SLURM.format(path=str(path))
    run.set(policy=replace(run.plan.policy, recovery=Recovery.IN_PLACE))
    path.write_text(json.dumps(format_comment(run.plan.comment_record)) + "\n")
    return lambda: [parse_comment(json.loads(line)) for line in path.read_text().splitlines()][1:]


def test_as_many_as_allowed_and_each_is_on_record(run, comments):
    command = "echo $SLURM_RESTART_COUNT $CSX_RESTART_ATTEMPT ${CSX_RESTART_IN_PLACE-unset}; exit 3"
    done = run.run(command, **JOB)
    assert done.returncode == 3
    assert done.stdout.splitlines() == ["0 unset", "1 1 unset", "2 2 unset"]
    assert [run.start_of(attempt)["in_place"] for attempt in range(3)] == [0, 1, 2]
    assert [one["in_place"] for one in run.summary()["runs"]] == [0, 1, 2]
    assert run.end_of(1)["expected_decision"].startswith("relaunch (unknown: restart 2/2")
    assert run.end_of(2)["expected_decision"].startswith("leave (")
    assert "attempt 2, started in place" in run.log()
    assert "[run_3] " in run.log()
    last = comments()[-1]
    assert (last.attempt, last.ended, last.in_place, last.in_place_failures) == (2, True, 2, 2)
    # A report of an end in a job that runs on would be taken for a lost end.
    assert [record.ended for record in comments()].count(True) == 1
    run.assert_nothing_left()


def test_progress_gives_the_restarts_back(run, comments, checkpoint):
    command = (
        f"cp '{checkpoint(run.model / 'kept', 10)}' '{run.model}/checkpoint_10.mdl.0123abcd.tmp';"
        f" [ $CSX_RESTART_ATTEMPT = 1 ] &&"
        f" mv '{run.model}/checkpoint_10.mdl.0123abcd.tmp' '{run.model}/checkpoint_10.mdl'; exit 3"
    )
    assert run.run(command, **JOB).returncode == 3
    assert run.end_of(1)["progress"] is True
    last = comments()[-1]
    # Attempts 0 and 1 (which makes progress), 2 (which falls back), 3; the last one is no more.
    assert (last.in_place, last.in_place_failures) == (4, 2)
    assert (last.in_place_progress, last.in_place_fall_backs) == (True, 1)


def test_a_node_that_fails_the_health_check_is_left_to_the_hook(run, comments):
    run.set(health_check=HealthCheck(command="check"))
    done = run.run("echo started; exit 3", **JOB)
    assert done.stdout == "started\n"
    assert "fan 3 stands still" in run.log()
    assert [one["category"] for one in run.summary()["runs"]] == ["unknown", "health_check"]
    last = comments()[-1]
    assert (last.cause, last.nodes, last.ended) == (Category.HEALTH_CHECK, "csx1", True)
    assert (last.in_place, last.in_place_failures) == (1, 1)
    run.assert_nothing_left()


def test_a_file_system_that_fails_is_given_time(run, comments):
    """The next attempt is not started at once, and a signal ends the wait."""
    run.setup += """
import signal, time, types
from slurm_restart.supervise import restart_in_place
def sleep(seconds):
    signal.raise_signal(signal.SIGTERM)
restart_in_place.time = types.SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
"""
    done = run.run("echo OSError: [Errno 5] Input/output error: /data/x; exit 3", **JOB)
    assert done.stdout.count("Errno 5") == 1
    assert run.end_of(0)["expected_decision"].startswith("relaunch (storage.io")
    assert comments()[-1].cause is Category.STORAGE_IO
    assert comments()[-1].in_place == 0


@pytest.mark.usefixtures("comments")
def test_the_wait_is_cut_short_once_the_health_check_passes_again(run):
    """Before the first attempt it passes, in the wait it fails once."""
    run.set(health_check=HealthCheck(command="check"))
    run.patched["supervise.outage_check.PAUSE"] = 0.01
    run.setup += """
answers = [None, "no /data", None]
def check_nodes(self, job_id, nodes, command, *, timeout):
    answer = {"node": "csx1", "failure": answers.pop(0), "check": "command", "notes": []}
    return Completed(0, json.dumps(answer), "")
FakeSlurm.check_nodes = check_nodes
import time, types
from slurm_restart.supervise import restart_in_place
# The wait itself has no end.
restart_in_place.time = types.SimpleNamespace(monotonic=lambda: 0.0, sleep=time.sleep)
"""
    failure = "echo OSError: [Errno 5] Input/output error: /data/x; exit 3"
    done = run.run(f"[ $CSX_RESTART_ATTEMPT = 1 ] || {{ {failure}; }}", **JOB)
    assert done.returncode == 0
    assert "the health check passes again: the wait is cut short" in run.log()
    assert [one["status"] for one in run.summary()["runs"]] == ["failed", "success"]
    run.assert_nothing_left()


def test_a_comment_that_cannot_be_written_leaves_it_to_the_hook(run, comments, tmp_path):
    run.patched |= {
        "supervise.restart_in_place.COMMENT_TIMEOUT": 0.5,
        "supervise.ending.FINAL_UPDATE_TIMEOUT": 0.5,
    }
    (tmp_path / "comments.refused").touch()
    assert run.run("exit 3", **JOB).returncode == 3
    assert comments() == []
    assert run.end_of(0)["expected_decision"].startswith("requeue (")
    assert [one["in_place"] for one in run.summary()["runs"]] == [0]


def test_a_trainer_that_was_told_to_end_is_not_restarted_in_place(run, comments, waits):
    process = run.start("echo ready; exec sleep 300", **JOB)
    output = run.dir.path / "attempts/0/output.log"
    waits(lambda: output.exists() and "ready" in output.read_text(), "ready")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert [one["in_place"] for one in run.summary()["runs"]] == [0]
    assert comments()[-1].in_place == 0


def test_a_signal_that_comes_between_two_attempts_reaches_the_next(run, comments):
    """It waits while the next supervisor starts, which then does not start its trainer."""
    run.setup += """
import os, signal
from slurm_restart.supervise import relaunch
execve = os.execve
def signalled(*arguments):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    signal.raise_signal(signal.SIGUSR1)
    execve(*arguments)
if relaunch.os.environ.get("CSX_RESTART_IN_PLACE") is None:
    relaunch.os.execve = signalled
"""
    done = run.run("echo started; exit 3", **JOB)
    assert done.stdout == "started\n"
    assert comments()[-1].cause is Category.TIMEOUT
    assert comments()[-1].in_place == 1
