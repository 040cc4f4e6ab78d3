"""Copy a run's exclusions to its later phases, which are separate jobs that are still pending."""

import time
from collections.abc import Sequence

from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import run_key
from slurm_restart.control.journal import open_journal
from slurm_restart.core.exclusions import exclusion_list, own_exclusions
from slurm_restart.core.history import Exclusion
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, is_managed, parse_comment
from slurm_restart.core.journal_events import AppliedEvent, ExcludeEvent
from slurm_restart.errors import CommentRecordError, SlurmError
from slurm_restart.slurm.format_hostlist import format_hostlist


def later_phases(
    jobs: Sequence[Job], uid: int, comment_record: CommentRecord
) -> tuple[tuple[Job, CommentRecord], ...]:
    """Return the pending jobs of the same user and run that come after this phase."""
    found: list[tuple[Job, CommentRecord]] = []
    for job in jobs:
        if job.uid != uid or job.state is not JobState.PENDING or not is_managed(job.comment):
            continue
        try:
            other = parse_comment(job.comment)
        except CommentRecordError:
            continue
        if (
            other.run == comment_record.run
            and other.phase > comment_record.phase
            and other.attempt is None
        ):
            found.append((job, other))
    return tuple(found)


def exclude_in_phases(
    controller: Controller,
    phases: Sequence[tuple[Job, CommentRecord]],
    exclusions: Sequence[Exclusion],
) -> None:
    """Exclude the same nodes in later phases. Each phase has its own journal."""
    for job, comment_record in phases:
        with open_journal(
            controller.site.state_dir, run_key(controller.cluster, job, comment_record)
        ) as journal:
            now = int(time.time())
            known = {exclusion.node for exclusion in journal.history.exclusions}
            readmitted = journal.history.readmitted_since(0)
            new = [
                exclusion for exclusion in exclusions if exclusion.node not in known | readmitted
            ]
            standing = (*journal.history.excluded(now), *new)
            wanted = exclusion_list(job, journal.history, standing) if new else None
            if wanted is None:
                continue
            try:
                controller.slurm.update(job.job_id, {"ExcNodeList": format_hostlist(wanted)})
            except SlurmError as error:
                controller.log(job.job_id)(f"exclusions not set on this later phase: {error}")
                continue
            journal.append(
                *(
                    ExcludeEvent(
                        at=exclusion.since,
                        node=exclusion.node,
                        until=exclusion.until,
                        evidence=exclusion.evidence,
                        submit_time=0,
                    )
                    for exclusion in new
                ),
                AppliedEvent(at=now, exc_nodes=own_exclusions(job, journal.history, standing)),
            )


def propagate_exclusions(
    controller: Controller,
    job: Job,
    comment_record: CommentRecord,
    jobs: Sequence[Job] | None = None,
) -> None:
    """Exclude in later phases the nodes that are excluded in this one.

    Args:
        controller: the cluster's controller.
        job: the job of this phase.
        comment_record: its comment record.
        jobs: all jobs; None: the user's jobs are queried if there is an exclusion.
    """
    key = run_key(controller.cluster, job, comment_record)
    with open_journal(controller.site.state_dir, key) as journal:
        exclusions = journal.history.excluded(int(time.time()))
    if exclusions:
        known = controller.slurm.jobs(uid=job.uid) if jobs is None else jobs
        exclude_in_phases(controller, later_phases(known, job.uid, comment_record), exclusions)
