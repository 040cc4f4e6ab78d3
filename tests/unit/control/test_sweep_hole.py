"""A line of a wrong type in one journal must not keep a sweep from the other jobs."""

import json
from pathlib import Path

import pytest

from slurm_restart.control.controller import Controller
from slurm_restart.control.reconcile import sweep
from slurm_restart.control.site import Site
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, JobState

BAD = {
    "event": "end",
    "at": 1,
    "submit_time": 500,
    "restarts": "2",
    "requeued": False,
    "category": "unknown",
    "rule": "r",
    "action": "requeue",
    "reason": "r",
}


class Slurm:
    """A cluster of failed jobs that takes every request."""

    def __init__(self, *ids):
        self.all = tuple(failed(job_id) for job_id in ids)

    def jobs(self, uid=None):  # noqa: ARG002 - the interface's signature
        return self.all

    def job(self, job_id):
        return next(job for job in self.all if job.job_id == job_id)

    def nodes(self):
        return ()

    def partitions(self):
        return ()

    def cluster_facts(self):
        return ClusterFacts()

    def reservation_nodes(self, name):  # noqa: ARG002 - as above
        return ()

    def update(self, job_id, fields):
        pass

    def _take(self, job_id):
        pass

    requeue = hold = release_job = cancel = _take


def failed(job_id):
    comment = f"csx-restart/1 run={job_id:016x};max=3;num=1;min=1"
    return Job(
        job_id=job_id,
        uid=1000,
        state=JobState.FAILED,
        comment=comment,
        submit_time=1000,
        exit_code=1,
        nodes=("n1",),
        num_nodes=1,
    )


@pytest.mark.parametrize(
    "bad",
    [
        json.dumps(BAD),
        json.dumps(BAD | {"restarts": 2, "action": ["requeue"]}),
        json.dumps({"event": "intend", "at": 1, "submit_time": 1000, "operations": ["bogus"]}),
        "[" * 100_000,
        "null",
    ],
)
def test_a_bad_line_harms_no_job_and_is_logged_once(tmp_path: Path, bad: str):
    tmp_path.chmod(0o700)
    folder = tmp_path / "journal" / "c"
    folder.mkdir(parents=True)
    journal = folder / f"7-1000-{7:016x}.jsonl"
    journal.write_text(bad + "\n")
    controller = Controller(slurm=Slurm(7, 8), site=Site(state_dir=tmp_path), cluster="c")
    for _ in range(2):
        result = sweep(controller)
        assert (result.managed, result.problems) == (2, 0)
    for job_id in (7, 8):
        lines = (folder / f"{job_id}-1000-{job_id:016x}.jsonl").read_text().splitlines()
        assert any('"event":"end"' in line and '"submit_time":1000' in line for line in lines)
    assert journal.read_text().startswith(bad + "\n")
    log = (tmp_path / "csx-epilog.log").read_text()
    assert log.count("line left out") == 1


def test_a_journal_that_is_no_file_harms_its_own_job_only(tmp_path: Path):
    tmp_path.chmod(0o700)
    (tmp_path / "journal" / "c" / f"7-1000-{7:016x}.jsonl").mkdir(parents=True)
    result = sweep(Controller(slurm=Slurm(7, 8), site=Site(state_dir=tmp_path), cluster="c"))
    assert (result.managed, result.problems) == (2, 1)
