"""A person's decision about a node, written into the journal of every run that it concerns."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from slurm_restart.control.advance import advance, publish
from slurm_restart.control.cluster_folder import folder_name
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import run_key
from slurm_restart.control.journal import Journal, RunKey, open_journal
from slurm_restart.control.journal_name import parse_name
from slurm_restart.core.history import FOR_NO_END
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import is_managed, parse_comment
from slurm_restart.core.journal_events import ExcludeEvent, ReadmitEvent
from slurm_restart.errors import CommentRecordError, CsxError
from slurm_restart.frozen import frozen


@frozen
class Changed:
    """What a decision has changed."""

    jobs: tuple[int, ...]
    """Job ids of the runs, in order."""
    problems: tuple[str, ...]
    """Runs that the decision did not reach at once; the reconciler brings it to them."""


def clear_node(controller: Controller, node: str, *, why: str) -> Changed:
    """End the exclusion of a node in every run, finished ones too.

    Args:
        controller: the cluster.
        node: its name.
        why: who decided it, and the reason, for people.

    Raises:
        StateError: a journal cannot be used.
    """
    changed = []
    for key in _keys(controller):
        with published(controller, key) as journal:
            now = int(time.time())
            if any(exclusion.node == node for exclusion in journal.history.excluded(now)):
                journal.append(ReadmitEvent(at=now, node=node, why=why))
                changed.append(key.job_id)
    return _apply(controller, changed)


def exclude_node(controller: Controller, node: str, *, until: int, why: str) -> Changed:
    """Exclude a node from every run that has begun and has not ended, from its next attempt on.

    Args:
        controller: the cluster.
        node: its name.
        until: epoch seconds.
        why: who decided it, and the reason, for people.

    Raises:
        StateError: a journal cannot be used.
        SlurmError: Slurm cannot be read.
    """
    changed = []
    for job in controller.slurm.jobs():
        key = _live_key(controller, job)
        if key is None:
            continue
        with published(controller, key) as journal:
            ends = journal.history.ends
            journal.append(
                ExcludeEvent(
                    at=int(time.time()),
                    node=node,
                    until=until,
                    evidence=why,
                    submit_time=ends[-1].submit_time if ends else FOR_NO_END,
                )
            )
            changed.append(key.job_id)
    return _apply(controller, changed)


def _live_key(controller: Controller, job: Job) -> RunKey | None:
    """Return what names the journal of a managed job that has not ended; None: it is not one."""
    if job.is_waiting_array or job.over or not is_managed(job.comment):
        return None
    try:
        return run_key(controller.cluster, job, parse_comment(job.comment))
    except CommentRecordError:
        return None


def _keys(controller: Controller) -> Iterator[RunKey]:
    """Yield what names the journals of the cluster."""
    folder = controller.site.state_dir / "journal" / folder_name(controller.cluster)
    for path in sorted(folder.glob("*.jsonl")):
        if (name := parse_name(path.name)) is not None:
            yield RunKey(cluster=controller.cluster, job_id=name.job_id, uid=name.uid, run=name.run)


@contextmanager
def published(controller: Controller, key: RunKey) -> Iterator[Journal]:
    """Open a journal, and copy it to the export directory if it was written."""
    with open_journal(controller.site.state_dir, key) as journal:
        before = len(journal.events)
        yield journal
        if len(journal.events) > before:
            publish(controller, journal, key)


def _apply(controller: Controller, job_ids: list[int]) -> Changed:
    """Let waiting jobs of these runs have their new exclusions now."""
    problems = []
    waiting = {
        job.job_id: job
        for job in controller.slurm.jobs()
        if job.job_id in job_ids and job.state is JobState.PENDING and not job.completing
    }
    for job_id, job in waiting.items():
        try:
            advance(controller, job_id, listed=job)
        except CsxError as error:
            problems.append(f"job {job_id}: {error}")
    return Changed(jobs=tuple(sorted(job_ids)), problems=tuple(problems))
