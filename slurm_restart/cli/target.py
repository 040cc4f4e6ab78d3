"""What a user names to `status` and `explain`: a job id or a run directory."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import parse_comment
from slurm_restart.errors import CommentRecordError, RecordError, SlurmError, StateError, UsageError
from slurm_restart.slurm.commands import Commands
from slurm_restart.supervise.backfill import backfill
from slurm_restart.trainer.plan import RunPlan
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.summary import read as read_summary


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A phase of a run, as far as it can be known from here."""

    job_id: int | None
    run: str | None
    uid: int | None
    run_dir: Path | None
    job: Job | None

    def summary(self) -> dict[str, Any]:
        """summary.json; empty where there is none that can be read."""
        if self.run_dir is None:
            return {}
        try:
            return read_summary(RunDir(self.run_dir).summary)
        except (OSError, RecordError):
            return {}

    def attempts(self) -> list[dict[str, Any]]:
        """The attempts of summary.json that have ended."""
        runs = self.summary().get("runs")
        return [run for run in runs if isinstance(run, dict)] if isinstance(runs, list) else []


def slurm_here(slurm_bin: Path | None = None) -> Commands:
    """Slurm as the user's environment has it, else as the site's settings say."""
    return Commands(bin_dir=slurm_bin if slurm_bin and slurm_bin.is_dir() else None)


def resolve(text: str) -> Target:
    """Find what a user has named, and settle his own records that nobody else could finish.

    Raises:
        UsageError: neither a job id nor a run directory.
    """
    target = (
        _from_job(int(text)) if re.fullmatch(r"[0-9]{1,10}", text) else _from_run_dir(Path(text))
    )
    if target.run_dir is not None and target.run_dir.stat().st_uid == os.getuid():
        # A reader's question is answered all the same where the records cannot be put right.
        with suppress(OSError, StateError):
            backfill(RunDir(target.run_dir), target.job)
    return target


def _look_up(job_id: int) -> tuple[Job | None, Path | None]:
    slurm = slurm_here()
    try:
        return slurm.job(job_id), slurm.script(job_id)
    except SlurmError:
        return None, None


def _from_job(job_id: int) -> Target:
    job, script = _look_up(job_id)
    run = None
    if job is not None:
        try:
            run = parse_comment(job.comment).run
        except CommentRecordError:
            run = None
    run_dir = script.parent if script is not None else None
    if run_dir is not None and not RunDir(run_dir).plan.is_file():
        run_dir = None
    return Target(
        job_id=job_id, run=run, uid=job.uid if job is not None else None, run_dir=run_dir, job=job
    )


def _from_run_dir(path: Path) -> Target:
    if not path.is_dir():
        raise UsageError(f"{path}: expected a job id or a run directory (…_restartable)")
    run_dir = RunDir(path.resolve())
    try:
        plan = RunPlan.load(run_dir.plan)
    except (StateError, OSError) as error:
        raise UsageError(f"{path}: not a run directory: {error}") from error
    starts = [start for attempt in run_dir.attempts() if (start := attempt.start()) is not None]
    job_id = starts[-1].job_id if starts else None
    job = _look_up(job_id)[0] if job_id is not None else None
    return Target(
        job_id=job_id,
        run=plan.run,
        uid=run_dir.path.stat().st_uid,
        run_dir=run_dir.path,
        job=job,
    )
