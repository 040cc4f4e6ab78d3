"""The nodes that a run excludes: begin and end of exclusions, and the job's ExcNodeList."""

from collections.abc import Collection, Iterable, Sequence

from slurm_restart.core.attribution import Blame
from slurm_restart.core.history import History
from slurm_restart.core.job import Job
from slurm_restart.core.journal_events import CLEARED, ExcludeEvent, ReadmitEvent

EXPIRED = "it expired"
NO_OTHER = "it is healthy again, and too few other nodes exist"
DOWN_EVIDENCE = "Slurm"
"""The beginning of the evidence against nodes that Slurm itself showed down."""


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


def user_excluded(job: Job, history: History) -> tuple[str, ...]:
    """Return the nodes that people exclude: those in the list that were never this plugin's."""
    return tuple(name for name in job.exc_nodes if name not in history.intended.exc_nodes)


def is_applied_since(history: History, boot_time: int | None) -> bool:
    """Return whether the present slurmctld has accepted the values of the job that are on record.

    Both times are whole seconds: it may have been killed and started within that of the request.
    """
    return boot_time is None or history.applied.at > boot_time


def readmit_events(
    job: Job, history: History, now: int, *, boot_time: int | None
) -> tuple[ReadmitEvent, ...]:
    """Return the journal events for exclusions that have expired or that a person cleared.

    Args:
        job: the pending job.
        history: the run's journal.
        now: epoch seconds.
        boot_time: when slurmctld started. One that was killed has lost what it had not saved, so
            a node missing from the list since before then was not cleared by a person.
    """
    kept = is_applied_since(history, boot_time)
    cleared = set(history.applied.exc_nodes or ()) - set(job.exc_nodes) if kept else set()
    over = {exclusion.node for exclusion in history.exclusions if exclusion.until <= now}
    return tuple(
        ReadmitEvent(at=now, node=node, why=CLEARED if node in cleared else EXPIRED)
        for node in sorted(cleared | over)
    )


def own_exclusions(
    job: Job, history: History, names: Iterable[str], known: Collection[str]
) -> tuple[str, ...]:
    """Return the nodes that this plugin adds to those that people exclude.

    Args:
        job: the pending job.
        history: the run's journal.
        names: the nodes to exclude.
        known: all nodes of the cluster. Slurm refuses a list with the name of any other.
    """
    return tuple(sorted((set(names) & set(known)) - set(user_excluded(job, history))))


def exclusion_list(
    job: Job, history: History, own: Sequence[str], known: Collection[str]
) -> tuple[str, ...] | None:
    """Return the new ExcNodeList, people's nodes first; None: it is unchanged."""
    wanted = (*(name for name in user_excluded(job, history) if name in known), *own)
    return None if set(wanted) == set(job.exc_nodes) else wanted
