"""After a checkpoint, the job's Comment says whether a person wants the run to end."""

import queue
import threading
from dataclasses import replace

import pytest

from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import format_comment
from slurm_restart.supervise.events import StopWanted
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.stop_watch import StopWatch
from tests.unit.core import facts

RECORD = facts.comment_record()


class FakeSlurm:
    def __init__(self, comment):
        self.comment = comment

    def job(self, job_id):
        return Job(job_id=job_id, uid=1, state=JobState.RUNNING, comment=self.comment)


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        (format_comment(RECORD), False),
        (format_comment(replace(RECORD, stop=2)), True),
        (format_comment(replace(RECORD, stop=1)), False),  # of the attempt before
        (format_comment(replace(RECORD, stop=2, run="f" * 16)), False),
        ("of the user's own", False),
    ],
)
def test_a_request_for_this_attempt_ends_it_once(comment, found):
    job = JobEnvironment(job_id=7, restarts=2, nodes=(), num_nodes=1)
    events, said = queue.SimpleQueue(), []
    watch = StopWatch(lambda: FakeSlurm(comment), job, RECORD.run, events, said.append)
    for _ in range(2):
        before = set(threading.enumerate())
        watch.saved("checkpoint_20.mdl")
        for thread in set(threading.enumerate()) - before:
            thread.join(300)
    assert [events.get_nowait() for _ in range(events.qsize())] == [StopWanted()] * found
    reported = ["stopped after checkpoint_20.mdl: a person wanted it (csx-restart stop)"]
    assert said == reported * found
