"""What is read from Slurm for a plan: the limits of association and QOS only where they matter."""

from dataclasses import replace

import pytest

from slurm_restart.control.controller import Controller
from slurm_restart.control.observe import RunContext, Snapshot, observe
from slurm_restart.core.history import History, replay
from slurm_restart.core.job import Job, JobFlag
from tests.unit.control.conftest import FakeSlurm
from tests.unit.core import facts

COMPLETING = facts.job(flags=frozenset({JobFlag.COMPLETING}), nodes=facts.NODES[:3])
RESIZED = replay([facts.ended(), facts.intent(num_nodes=2)])


@pytest.mark.parametrize(
    ("job", "history", "enforced", "limit"),
    [
        (facts.pending(), History(), True, 2),
        (facts.pending(), History(), False, None),
        (COMPLETING, History(), True, None),  # Slurm checks its size; the hook is to be quick
        (COMPLETING, RESIZED, True, 2),
        (COMPLETING, RESIZED, False, None),
    ],
)
def test_limits_are_read_where_slurm_does_not_check_the_size(
    controller: Controller,
    slurm: FakeSlurm,
    job: Job,
    history: History,
    enforced: bool,
    limit: int | None,
) -> None:
    slurm.show(job)
    slurm.limit = 2
    slurm.cluster = replace(slurm.cluster, limits_enforced=enforced)
    snapshot = Snapshot(controller=controller)
    view = observe(snapshot, job, facts.comment_record(), history, RunContext())
    assert view.seen.node_limit == limit
    assert ("node_limit" in slurm.calls) is (limit is not None)
