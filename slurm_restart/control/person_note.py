"""Write into the journal of a run what an administrator wanted of it, for `explain`."""

import time

from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import run_key
from slurm_restart.control.node_decisions import published
from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import parse_comment
from slurm_restart.core.journal_events import NoteEvent


def write_note(controller: Controller, job: Job, text: str, *, who: str) -> None:
    """Write a note into the journal of a job.

    Args:
        controller: the cluster.
        job: managed by this plugin.
        text: what was wanted.
        who: the name of the person.

    Raises:
        CommentRecordError: the job has no valid comment record.
        StateError: the journal cannot be written.
    """
    key = run_key(controller.cluster, job, parse_comment(job.comment))
    with published(controller, key) as journal:
        journal.append(NoteEvent(at=int(time.time()), text=text, who=who))
