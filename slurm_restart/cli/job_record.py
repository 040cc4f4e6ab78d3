"""The comment record of a job, for commands: a job without a valid one is not managed."""

from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import CommentRecord, parse_comment
from slurm_restart.errors import CommentRecordError


def record_of(job: Job | None) -> CommentRecord | None:
    """Return the job's comment record; None: it has no valid one."""
    try:
        return None if job is None else parse_comment(job.comment)
    except CommentRecordError:
        return None
