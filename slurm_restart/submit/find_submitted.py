"""Find the job of a submission whose job id is not known, by the run in its Comment."""

import os
from collections.abc import Collection

from slurm_restart.core.job_comment import CommentRecord, parse_comment
from slurm_restart.errors import CommentRecordError
from slurm_restart.slurm.interface import Slurm


def find_submitted(
    slurm: Slurm, comment_record: CommentRecord | None, *, former: Collection[int] = ()
) -> str | None:
    """Return the job id as sbatch would have printed it; None: the queue does not show the job.

    Args:
        slurm: the cluster.
        comment_record: the one that the job was submitted with; None: it has none.
        former: job ids of the same phase from before the submission.

    Raises:
        SlurmError: the queue cannot be read.
    """
    for job in slurm.jobs(uid=os.getuid()):
        if job.job_id not in former and is_phase(job.comment, comment_record):
            return str(job.array_job_id or job.job_id)
    return None


def is_phase(comment: str, comment_record: CommentRecord | None) -> bool:
    """Return whether a Comment is that of the run and the phase of a record."""
    if comment_record is None:
        return False
    try:
        found = parse_comment(comment)
    except CommentRecordError:
        return False
    return (found.run, found.phase) == (comment_record.run, comment_record.phase)
