"""After a checkpoint, Slurm is asked whether the search for a faulty node goes on."""

import queue
import threading

import pytest

from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.supervise.events import SearchOpen
from slurm_restart.supervise.search_watch import SearchWatch
from tests.unit.core import facts

OPEN = "ticket | csx-restart: failures=2/3 total=2 step=5 nodes=4 search=open | restart 2/3"
CLOSED = "csx-restart: failures=2/3 total=2 step=5 nodes=4 | a comment that ends on search=open"


class FakeSlurm:
    def __init__(self, *answers):
        self.answers = list(answers)

    def job(self, _job_id):
        answer = self.answers.pop(0)
        if answer is None:
            raise SlurmUnavailableError("no")
        return facts.job(admin_comment=answer)


def watch(*answers, checkpoints):
    """The events and the lines for the user after so many checkpoints."""
    slurm, events, said = FakeSlurm(*answers), queue.SimpleQueue(), []
    watched = SearchWatch(lambda: slurm, 7, events, said.append)
    for number in range(checkpoints):
        before = set(threading.enumerate())
        watched.saved(f"checkpoint {number}")
        for thread in set(threading.enumerate()) - before:
            thread.join(300)
    return [events.get_nowait() for _ in range(events.qsize())], said, slurm.answers


@pytest.mark.parametrize(
    ("answers", "expected", "unasked"),
    [
        ([OPEN, OPEN], [SearchOpen()], 1),
        ([None, OPEN], [SearchOpen()], 0),
        ([CLOSED, ""], [], 0),
    ],
)
def test_the_attempt_ends_once_if_the_controller_says_so(answers, expected, unasked):
    events, said, left = watch(*answers, checkpoints=2)
    assert events == expected
    assert len(left) == unasked
    lines = "ends after checkpoint {}: the search for a faulty node goes on with more nodes"
    assert said == ([lines.format(1 - unasked)] if expected else [])
