"""A Slurm with one job, for supervisors in other processes: state and calls are in a file."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, JobFlag, JobState, NodeState
from slurm_restart.errors import SlurmError, SlurmUnavailableError

NODES = ("csx1", "csx2", "csx3", "csx4")


class FakeCluster:
    """The job 7 on csx1 and csx2 of four nodes.

    `state` is what squeue shows: RUNNING, COMPLETING (22.05 shows no base state), REQUEUED.
    `signal` and `reason` are those of its end.
    `lost` are nodes that the job, RUNNING, has no more (--no-kill).
    `unanswered` are requests to update the job that are carried out without an answer, and
    `refused` those that are refused.
    `die` names a call before or after which the caller is killed: `before requeue`.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def reset(self, **values: Any) -> None:
        """Write the state anew; the calls are kept."""
        calls = self.read()["calls"] if self._path.exists() else []
        start = {
            "state": "RUNNING",
            "restarts": 0,
            "down": [],
            "lost": [],
            "die": "",
            "unanswered": 0,
            "refused": 0,
            "requeue_exit": [],
            "signal": 0,
            "reason": "None",
        }
        self._write(start | {"comment": "", "calls": calls} | values)

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._path.read_text())
        return found

    def _write(self, data: dict[str, Any]) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(data))
        new.replace(self._path)

    def _call(self, name: str, text: str, **change: Any) -> None:
        for when in ("before", "after"):
            if self.read()["die"] == f"{when} {name}":
                self._write(self.read() | {"die": ""})
                os.kill(os.getpid(), signal.SIGKILL)
            if when == "before":
                data = self.read()
                self._write(data | change | {"calls": [*data["calls"], text]})

    # --- Slurm -----------------------------------------------------------------------------------

    def job(self, job_id: int) -> Job:
        data = self.read()
        running = data["state"] == "RUNNING"
        return Job(
            job_id=job_id,
            uid=1,
            state=JobState.RUNNING if running else None,
            flags=frozenset() if running else frozenset({JobFlag.COMPLETING}),
            comment=data["comment"],
            submit_time=1000,
            nodes=tuple(name for name in NODES[:2] if name not in data["lost"]) if running else (),
            num_nodes=2,
            priority=1,
            requeue=True,
            restarts=data["restarts"],
            signal=data["signal"],
            reason=data["reason"],
        )

    def nodes(self) -> tuple[NodeState, ...]:
        down = self.read()["down"]
        return tuple(
            NodeState(name=name, state="DOWN" if name in down else "IDLE") for name in NODES
        )

    def run_on_nodes(self, _job_id: int, _nodes: object, _command: object) -> str:
        return ""  # no process of an earlier attempt is left

    def partitions(self) -> tuple[()]:
        return ()

    def step_nodes(self, _job_id: int) -> frozenset[str]:
        return frozenset(NODES[:1])  # the batch script's

    def others_wait(self, _job: object) -> bool:
        return False

    def cluster_facts(self) -> ClusterFacts:
        codes = frozenset(self.read()["requeue_exit"])
        return ClusterFacts(kill_wait=600, requeue_exit=codes)

    def requeue(self, job: object) -> None:
        restarts = self.read()["restarts"] + 1
        self._call("requeue", f"requeue {job}", state="REQUEUED", restarts=restarts)

    def cancel(self, job: object) -> None:
        self._call("cancel", f"cancel {job}")

    def update(self, job: object, fields: dict[str, str]) -> None:
        if "Comment" in fields:
            self._write(self.read() | {"comment": fields["Comment"]})
            return
        text = " ".join(f"{name}={value}" for name, value in fields.items())
        for name in ("refused", "unanswered"):
            if count := self.read()[name]:
                self._write(self.read() | {name: count - 1})
                if name == "refused":
                    raise SlurmError("update job 7: no")
                self._call("update", f"update {job} {text}")
                raise SlurmUnavailableError("update job 7: killed by signal 9 before an answer")
        self._call("update", f"update {job} {text}")
