"""The nodes that a run excludes: begin and end of exclusions, and what is left to run on."""

from collections.abc import Iterable, Sequence

from slurm_restart.core.attribution import Blame
from slurm_restart.core.history import Exclusion, History
from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.journal_events import ExcludeEvent, ReadmitEvent
from slurm_restart.core.node_pool import NodePool, build_pool
from slurm_restart.core.slurm_operations import cleared_by_person, user_excluded


def exclude_events(
    blamed: Iterable[Blame], *, now: int, until: int, submit_time: int
) -> tuple[ExcludeEvent, ...]:
    """Return the journal events that exclude the nodes that evidence names."""
    return tuple(
        ExcludeEvent(
            at=now, node=blame.node, until=until, evidence=blame.evidence, submit_time=submit_time
        )
        for blame in blamed
    )


def readmit_events(job: Job, history: History, now: int) -> tuple[ReadmitEvent, ...]:
    """Return the journal events for exclusions that have expired or that a person cleared."""
    by_people = set(cleared_by_person(job.exc_nodes, history.applied, history.exclusions))
    over = {exclusion.node for exclusion in history.exclusions if exclusion.until <= now}
    return tuple(
        ReadmitEvent(at=now, node=node, why="a person took it off the job's list")
        if node in by_people
        else ReadmitEvent(at=now, node=node, why="it expired")
        for node in sorted(by_people | over)
    )


def own_exclusions(job: Job, history: History, exclusions: Sequence[Exclusion]) -> tuple[str, ...]:
    """Return the nodes that this plugin adds to those that people exclude."""
    people = user_excluded(job.exc_nodes, history.applied)
    return tuple(sorted({exclusion.node for exclusion in exclusions} - set(people)))


def exclusion_list(
    job: Job, history: History, exclusions: Sequence[Exclusion]
) -> tuple[str, ...] | None:
    """Return the new ExcNodeList, people's nodes first; None: it is unchanged."""
    people = user_excluded(job.exc_nodes, history.applied)
    wanted = (*people, *own_exclusions(job, history, exclusions))
    return None if set(wanted) == set(job.exc_nodes) else wanted


def available_pool(
    job: Job,
    history: History,
    exclusions: Sequence[Exclusion],
    nodes: Iterable[NodeState],
    reserved: Sequence[str] | None,
) -> NodePool:
    """Return the nodes that the job could run on with these exclusions."""
    people = user_excluded(job.exc_nodes, history.applied)
    barred = {*people, *(exclusion.node for exclusion in exclusions)}
    return build_pool(job, nodes, barred, reserved)
