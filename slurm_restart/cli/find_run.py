"""Resolve the argument of commands about a run, a job id or a run directory, to a phase."""

import os
import re
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from slurm_restart.cli.run_source import hides_jobs
from slurm_restart.control.find_journal import Found, find_journal
from slurm_restart.control.site import Site
from slurm_restart.core.array_task import run_of_task
from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import parse_comment
from slurm_restart.errors import (
    CommentRecordError,
    JobNotFoundError,
    SlurmError,
    StateError,
    UsageError,
)
from slurm_restart.frozen import frozen
from slurm_restart.slurm.commands import Commands
from slurm_restart.supervise.backfill import backfill
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.summary import read as read_summary

TASK = r"[0-9]{1,10}_[0-9]{1,10}"
"""The form of the name of a task of an array."""
MAX_PROBLEMS = 20
"""Problems with records that a command shows one by one."""


@frozen
class Target:
    """A phase of a run. None: not known on this host."""

    job_id: int | None
    run: str | None
    uid: int | None
    run_dir: Path | None
    job: Job | None
    summary: dict[str, Any] = field(default_factory=dict)
    """The content of summary.json; empty: there is none, or it cannot be read."""
    problems: tuple[str, ...] = ()
    """Records in the run directory that cannot be read or written."""
    warnings: tuple[str, ...] = ()
    """What the newest attempt warned of, and checkpoints that are not used as they came late."""
    unanswered: SlurmError | None = None
    """Why it is not known whether Slurm knows the job; None: Slurm has answered."""

    def attempts(self) -> list[dict[str, Any]]:
        """Return the attempts of summary.json, which have ended."""
        runs = self.summary.get("runs")
        return [run for run in runs if isinstance(run, dict)] if isinstance(runs, list) else []


def slurm_here(slurm_bin: Path | None = None) -> Commands:
    """Return Slurm's commands in `slurm_bin` if that is a directory, else those in PATH."""
    return Commands(bin_dir=slurm_bin if slurm_bin and slurm_bin.is_dir() else None)


def resolve_known(text: str, site: Site) -> tuple[Target, Found | None]:
    """Return the phase of a job id, a task or a run directory, and its journal if it can be read.

    Raises:
        JobNotFoundError: neither Slurm nor a journal knows the job.
        SlurmUnavailableError: Slurm does not answer, and no journal knows the job.
        UsageError: neither a job id nor a run directory.
    """
    target = resolve(text)
    found = find_journal(site, job_id=target.job_id, run=target.run, uid=target.uid)
    if found is not None and _is_hidden(found, target, site):
        found = find_journal(site, job_id=target.job_id, run=target.run, uid=os.getuid())
    if target.job is None and target.run_dir is None and found is None:
        raise target.unanswered or JobNotFoundError(
            f"{text}: Slurm does not know this job, and no journal of it can be read here; of a "
            "run that Slurm has forgotten, give the run directory"
        )
    return target, found


def _is_hidden(found: Found, target: Target, site: Site) -> bool:
    """Return whether it is the copy of a run of another user's, which Slurm may not show.

    A run that Slurm shows, or in whose directory the caller can read, is no secret of its owner's.
    """
    own = os.getuid()
    if target.job is not None or target.run_dir is not None or own in {found.uid, 0}:
        return False
    if site.export_dir is None or site.export_dir not in found.path.parents:
        return False
    return hides_jobs(slurm_here(site.slurm_bin))


def resolve(text: str) -> Target:
    """Return the phase of a job id, a task (`120_4`) or a run directory.

    Missing end records of the caller's own runs are written.

    Raises:
        JobNotFoundError: a task that Slurm does not show.
        UsageError: neither a job id nor a run directory.
    """
    if re.fullmatch(r"[0-9]{1,10}", text):
        target = _from_job(int(text))
    elif re.fullmatch(TASK, text):
        target = _from_job(task_job_id(text))
    else:
        target = _from_run_dir(Path(text))
    return target if target.run_dir is None else _with_records(target, RunDir(target.run_dir))


def _with_records(target: Target, run_dir: RunDir) -> Target:
    """Write missing end records if the caller owns the run and is not root; read the records.

    Root only reads: a user who may rename parts of the path could direct root's writes elsewhere.
    """
    problems: list[str] = []
    summary: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    late: list[str] = []
    user = os.geteuid()
    try:
        if user != 0 and run_dir.path.stat().st_uid == user:
            problems += backfill(run_dir, target.job).problems
    except (OSError, StateError) as error:
        problems.append(f"the records were not completed: {error}")
    try:
        for attempt in run_dir.attempts():
            problems += map(str, attempt.problems())
            warnings = attempt.warnings()
            late += (
                f"checkpoint {checkpoint.path} is not used: {checkpoint.reason}"
                for checkpoint in attempt.late()
            )
        summary = read_summary(run_dir.summary)
    except FileNotFoundError:
        pass  # no attempt has ended
    except (OSError, StateError) as error:
        problems.append(str(error))
    return replace(
        target,
        summary=summary,
        warnings=(*warnings, *late),
        problems=tuple(dict.fromkeys(problems)),
    )


def task_job_id(name: str) -> int:
    """Return the job id of a task of an array.

    Raises:
        JobNotFoundError: Slurm does not show it.
    """
    for job in slurm_here().jobs():
        if job.name == name:
            return job.job_id
    raise JobNotFoundError(f"{name}: Slurm shows no such task of an array that has started")


def _look_up(job_id: int) -> tuple[Job | None, Path | None, SlurmError | None]:
    """Return a job and its script as Slurm shows them, or why Slurm has not answered."""
    slurm = slurm_here()
    try:
        return slurm.job(job_id), slurm.script(job_id), None
    except JobNotFoundError:
        return None, None, None
    except SlurmError as error:
        return None, None, error


def _from_job(job_id: int) -> Target:
    job, script, unanswered = _look_up(job_id)
    run = None
    if job is not None:
        try:
            run = run_of_task(parse_comment(job.comment).run, job.array_task_id)
        except CommentRecordError:
            run = None
    run_dir = script.parent if script is not None else None
    if run_dir is not None and job is not None and job.array_task_id is not None:
        run_dir = RunDir(run_dir).task(job.array_task_id).path
    if run_dir is not None and not RunDir(run_dir).plan.is_file():
        run_dir = None
    return Target(
        job_id=job_id,
        run=run,
        uid=job.uid if job is not None else None,
        run_dir=run_dir,
        job=job,
        unanswered=unanswered,
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
    job, _, unanswered = (None, None, None) if job_id is None else _look_up(job_id)
    return Target(
        job_id=job_id,
        run=run_of_task(plan.run, plan.array_task),
        uid=run_dir.path.stat().st_uid,
        run_dir=run_dir.path,
        job=job,
        unanswered=unanswered,
    )
