"""After a checkpoint, the job's comments say whether a person, or the search, wants it to end."""

import queue
import threading
from dataclasses import replace

import pytest

from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import format_comment
from slurm_restart.supervise.events import SearchOpen, StopWanted
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.stop_watch import StopWatch
from tests.unit.core import facts

RECORD = facts.comment_record()
OPEN = "ticket | csx-restart: failures=2/3 total=2 step=5 nodes=4 search=open | restart 2/3"
CLOSED = "csx-restart: failures=2/3 total=2 step=5 nodes=4 | a text that ends on search=open"


class FakeSlurm:
    def __init__(self, comment, admin_comment=""):
        self.comments = {"comment": comment, "admin_comment": admin_comment}

    def job(self, job_id):
        return Job(job_id=job_id, uid=1, state=JobState.RUNNING, **self.comments)


def watch(slurm, *, made_progress=True):
    """The events and the lines for the user after two checkpoints."""
    job = JobEnvironment(job_id=7, restarts=2, nodes=(), num_nodes=1)
    events, said = queue.SimpleQueue(), []
    watched = StopWatch(lambda: slurm, job, RECORD.run, events, said.append)
    for _ in range(2):
        before = set(threading.enumerate())
        watched.saved("checkpoint_20.mdl", made_progress=made_progress)
        for thread in set(threading.enumerate()) - before:
            thread.join(300)
    return [events.get_nowait() for _ in range(events.qsize())], said


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
    events, said = watch(FakeSlurm(comment))
    assert events == [StopWanted()] * found
    reported = ["stopped after checkpoint_20.mdl: a person wanted it (csx-restart stop)"]
    assert said == reported * found


@pytest.mark.parametrize(
    ("comment", "admin_comment", "made_progress", "found"),
    [
        ("", OPEN, True, True),
        ("", OPEN, False, False),
        ("", CLOSED, True, False),
        (OPEN, "", True, False),  # the owner can write this one
    ],
)
def test_an_attempt_ends_for_the_search_if_the_controller_says_so(
    comment, admin_comment, made_progress, found
):
    events, said = watch(FakeSlurm(comment, admin_comment), made_progress=made_progress)
    assert events == [SearchOpen()] * found
    line = "ends after checkpoint_20.mdl: the search for a faulty node goes on"
    assert said == [line] * found
