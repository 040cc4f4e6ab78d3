"""Advance a job: which journals and which jobs one call concerns."""

from dataclasses import replace

from slurm_restart.control.run_phases import later_phases
from slurm_restart.core.job_comment import format_comment
from tests.unit.core import facts


def test_later_phases_are_of_the_same_user_and_run() -> None:
    record = facts.comment_record(phase=1)

    def job(number: int, **changes: object) -> object:
        comment = format_comment(replace(record, **changes))  # type: ignore[arg-type]
        return facts.pending(job_id=number, comment=comment)

    jobs = (
        job(1, phase=0),
        job(2, phase=1),
        job(3, phase=2),
        replace(job(4, phase=2), uid=1001),  # type: ignore[type-var]
        job(5, phase=2, run="f" * 16),
        replace(job(6, phase=2), state=None),  # type: ignore[type-var]
        facts.pending(job_id=7, comment="csx-restart/1 nonsense"),
    )
    found = list(later_phases(jobs, 1000, record))  # type: ignore[arg-type]
    assert [job.job_id for job, _ in found] == [3]
