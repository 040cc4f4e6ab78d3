"""A job array: each task is judged and restarted alone, and the others are left as they are."""

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contrib.testing.managed_cluster import FAST
from contrib.testing.scripted_runs import ScriptedCluster
from contrib.testing.waiting import await_

pytestmark = pytest.mark.cluster

_TASK = r"""
task=$SLURM_ARRAY_TASK_ID
me=${SLURM_ARRAY_JOB_ID}_$task
attempt=${SLURM_RESTART_COUNT:-0}
echo "$SLURM_JOB_ID $SLURM_JOB_NODELIST" >"@FOLDER@/$task.$attempt"
submitted=$(SLURM_TIME_FORMAT=%s squeue -h -j "$me" -o %V)
report() {
    scontrol update JobId="$me" Comment="csx-restart/1 @RECORD@;attempt=$attempt;\
submit=$submitted;restarts=$attempt;from=0;step=$1"
}
until [ -e "@FOLDER@/go" ]; do sleep 0.2; done
case $task.$attempt in
@FAILURES@
esac
report "9;ended=1;exit=0;cause=completed"
"""
FAILS = 'report "0;ended=1;exit=3;cause=unknown"; exit 3'
NODE_FAULT = FAILS.replace("unknown", "hardware.accelerator;rule=a.b;nodes=$SLURM_JOB_NODELIST")


@dataclass(frozen=True)
class Array:
    """A submitted array, and the folder in which its tasks leave a file for each attempt."""

    cluster: ScriptedCluster
    job_id: int
    folder: Path

    def go(self) -> None:
        """Let the tasks go on."""
        (self.folder / "go").touch()

    def attempts(self, task: int) -> list[tuple[int, str]]:
        """Return job id and node of each attempt of a task."""
        found = []
        while (path := self.folder / f"{task}.{len(found)}").exists():
            job_id, node = path.read_text().split()
            found.append((int(job_id), node))
        return found

    def states(self) -> dict[int, str]:
        """Return the state of each task that Slurm shows by itself."""
        ask = ("squeue", "-h", "-a", "-r", "-t", "all", "-j", str(self.job_id), "-o", "%K %T")
        rows = (line.split() for line in self.cluster.run(*ask).splitlines())
        return {int(task): state for task, state in rows}

    def field(self, task: int, name: str) -> str:
        """Return a field of `scontrol show job` of a task."""
        text = self.cluster.run("scontrol", "show", "job", "-o", f"{self.job_id}_{task}")
        return dict(pair.partition("=")[::2] for pair in text.split())[name]

    def await_end(self) -> None:
        """Wait, with sweeps of the reconciler, until every task has ended for good."""

        def ended() -> bool:
            self.cluster.reconcile()
            return set(self.states().values()) <= {"COMPLETED", "FAILED"} and self.is_judged()

        await_(ended, f"the end of array {self.job_id}", interval=1, timeout=600)

    def is_judged(self) -> bool:
        """Whether each failed task has a last end that is final."""
        failed = [task for task, state in self.states().items() if state == "FAILED"]
        ends = [self.cluster.ends(self.attempts(task)[0][0]) for task in failed]
        return all(each and each[-1]["action"] == "leave" for each in ends)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ScriptedCluster]:
    with ScriptedCluster(per_partition=4, policy=FAST) as booted:
        yield booted


def submit(cluster: ScriptedCluster, tasks: str, failures: dict[str, str]) -> Array:
    run = secrets.token_hex(8)
    record = f"run={run};max=2;num=1;min=1"
    folder = cluster.work / f"array-{run}"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, cluster.user.pw_uid, cluster.user.pw_gid)
    cases = "\n".join(f"{case}) {text} ;;" for case, text in failures.items())
    text = _TASK.replace("@FOLDER@", str(folder)).replace("@RECORD@", record)
    job_id = cluster.submit(
        text.replace("@FAILURES@", cases),
        *("--array", tasks, "--requeue", "--nodes=1", "--exclusive", "--open-mode=append"),
        f"--output={folder}/%a.log",
        f"--comment=csx-restart/1 {record}",
    )
    return Array(cluster, job_id, folder)


def test_three_failing_tasks_of_twenty_are_judged_alone(cluster: ScriptedCluster) -> None:
    """Task 19 starts last, and has the job id of the whole array."""
    failures = {"2.0": NODE_FAULT, "5.*": FAILS, "19.*": FAILS}
    array = submit(cluster, "0-19%4", failures)
    array.go()
    array.await_end()
    states = array.states()
    assert states == dict.fromkeys(range(20), "COMPLETED") | {5: "FAILED", 19: "FAILED"}
    attempts = {task: array.attempts(task) for task in range(20)}
    assert {task: len(found) for task, found in attempts.items()} == dict.fromkeys(range(20), 1) | {
        2: 2,
        5: 3,
        19: 3,
    }
    assert attempts[19][0][0] == array.job_id
    # A task keeps its job id, and each has a journal of its own.
    for task, found in attempts.items():
        [job_id] = {job_id for job_id, _ in found}
        assert len(cluster.ends(job_id)) == len(found), task
        assert len(list(cluster.state_dir.glob(f"journal/*/{job_id}-*"))) == 1
    for task in (5, 19):
        assert [end["failures"] for end in cluster.ends(attempts[task][0][0])] == [1, 2, 3]
    # The faulty node is excluded by the task that has found it only.
    (_, faulty), (_, other) = attempts[2]
    assert faulty != other
    assert [array.field(task, "ExcNodeList") for task in (2, 3, 19)] == [faulty, "(null)", "(null)"]
    assert array.field(19, "ArrayTaskThrottle") == "4"


def test_a_task_whose_hook_did_not_run_is_restarted_by_the_reconciler(
    cluster: ScriptedCluster,
) -> None:
    hook = cluster.hook.read_text()
    cluster.hook.write_text("#!/bin/sh\n")
    try:
        array = submit(cluster, "0-2", {"2.0": FAILS})
        array.go()
        await_(lambda: array.states().get(2) == "FAILED", "task 2 has failed")
    finally:
        cluster.hook.write_text(hook)
    array.await_end()
    assert set(array.states().values()) == {"COMPLETED"}
    assert [len(array.attempts(task)) for task in range(3)] == [1, 1, 2]
    [first, second] = cluster.ends(array.job_id)
    assert (first["source"], second["category"]) == ("sweep", "completed")


def test_a_hook_that_cannot_judge_requeues_the_task_alone(cluster: ScriptedCluster) -> None:
    hook = cluster.hook.read_text()
    cluster.hook.write_text(hook.replace("\nPYTHON=", "\nPYTHON=/bin/false # "))
    try:
        array = submit(cluster, "0-2", {"2.0": FAILS})
        array.go()
        text = "not judged: requeued"
        await_(lambda: text in cluster.hook_log(), "csx-epilog has requeued task 2")
        cluster.await_helper()
    finally:
        cluster.hook.write_text(hook)
    array.await_end()
    assert set(array.states().values()) == {"COMPLETED"}
    assert [len(array.attempts(task)) for task in range(3)] == [1, 1, 2]
