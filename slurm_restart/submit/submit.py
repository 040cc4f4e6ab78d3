"""Carries out a submission: test every phase, make the directories, submit, or take all back."""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from slurm_restart.core.job_comment import CommentRecord, parse_comment
from slurm_restart.errors import (
    CommentRecordError,
    CsxError,
    SlurmError,
    SlurmUnavailableError,
    StateError,
)
from slurm_restart.slurm.interface import Slurm
from slurm_restart.submit.directories import RunDirectories
from slurm_restart.submit.submission import PhaseJob, Submission
from slurm_restart.trainer import runlog
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.rundir import RunDir

SCRIPT = "job.sh"
UNKNOWN_RUN_DIR = "YYYYmmdd_HHMMSS_restartable"
# Answers of --test-only for what sbatch itself takes: such a job waits.
_WAITS = ("Requested node configuration is not available", "Requested nodes are busy")


class _PerhapsSubmittedError(SlurmUnavailableError):
    """Nobody can say whether the job is in the queue: its run directory has to stay."""

    def __init__(self, error: SlurmUnavailableError, run_dir: Path) -> None:
        self.run_dir = run_dir
        super().__init__(
            f"{error}\nthe job may be in the queue all the same: look with squeue --me, then "
            f"remove {run_dir} or leave it to the job",
            stderr=error.stderr,
        )


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A phase that is in the queue."""

    job: PhaseJob
    job_id: str
    run_dir: Path


def test_phases(submission: Submission, slurm: Slurm) -> list[str]:
    """Ask Slurm of every phase whether it would take it; returns its answers.

    Nothing is created but a temporary script, and nothing is submitted.

    Raises:
        SlurmError: what Slurm refuses, and for which phase.
    """
    return [_ask(job, slurm) for job in submission.jobs]


def check_phases(submission: Submission, slurm: Slurm) -> list[str]:
    """See that Slurm takes every phase; returns what makes phases wait for other nodes.

    Raises:
        SlurmError: what Slurm refuses, and for which phase.
    """
    waits = []
    for job in submission.jobs:
        try:
            _ask(job, slurm)
        except SlurmUnavailableError:
            raise
        except SlurmError as error:
            if not any(text in f"{error} {error.stderr}" for text in _WAITS):
                raise
            waits.append(f"cannot start with today's nodes: {error}")
    return waits


def _ask(job: PhaseJob, slurm: Slurm) -> str:
    with tempfile.TemporaryDirectory(prefix="csx-sbatch-") as directory:
        script = Path(directory) / SCRIPT
        script.write_bytes(os.fsencode(job.script(preview_run_dir(job))))
        try:
            return slurm.submit(str(script), job.arguments(), test_only=True).strip()
        except SlurmError as error:
            raise _with_phase(error, job) from error


def preview_run_dir(job: PhaseJob) -> Path:
    """The run directory as it is named before it has been made."""
    return Path(job.plan.model_dir) / UNKNOWN_RUN_DIR


def submit(
    submission: Submission,
    slurm: Slurm,
    *,
    now: Callable[[], datetime],
    told: Callable[[Submitted], None],
) -> list[Submitted]:
    """Submit every phase, each after the one before it.

    Args:
        submission: the phases, checked.
        slurm: the cluster.
        now: the local time.
        told: called for each phase that is in the queue, once all are.

    Raises:
        SlurmError: a phase was refused. No job and no directory of the submission is left, unless
            the message says so.
        StateError: a run directory cannot be written; the same holds.
    """
    directories = RunDirectories()
    done: list[Submitted] = []
    try:
        for job in submission.jobs:
            done.append(_submit_one(job, slurm, directories, now, done[-1] if done else None))
    except BaseException as error:
        # Whatever ended it, ^C too: half a submission would train half a run.
        left = _cancel(done, slurm)
        if not isinstance(error, CsxError):
            _cancel_unheard(submission, slurm)
        kept = {item.run_dir for item in left}
        if isinstance(error, _PerhapsSubmittedError):
            kept.add(error.run_dir)
        directories.remove(kept)
        if left and isinstance(error, CsxError):
            jobs = " ".join(item.job_id for item in left)
            raise SlurmError(f"{error}\nstill in the queue: scancel {jobs}") from error
        raise
    for item in done:
        told(item)
    return done


def _copy_rules(rules: Sequence[Path], directory: Path) -> None:
    """Keep the run's rules as they are now, in their order."""
    for number, path in enumerate(rules):
        directory.mkdir(exist_ok=True)
        write_atomic(directory / f"{number:02}-{path.stem}.yaml", path.read_bytes())


def _submit_one(
    job: PhaseJob,
    slurm: Slurm,
    directories: RunDirectories,
    now: Callable[[], datetime],
    before: Submitted | None,
) -> Submitted:
    run_dir = directories.make(Path(job.plan.model_dir), now())
    try:
        files = RunDir(run_dir)
        write_atomic(files.params, job.params.encode(errors="surrogateescape"))
        write_atomic(run_dir / SCRIPT, os.fsencode(job.script(run_dir)), mode=0o755)
        _copy_rules(job.rules, files.rules)
        job.plan.save(files.plan)
    except OSError as error:
        raise StateError(f"{run_dir}: cannot write: {error}") from error
    after = before.job_id if before else None
    try:
        job_id = slurm.submit(str(run_dir / SCRIPT), job.arguments(after))
    except SlurmUnavailableError as error:
        job_id = _find(job, slurm, run_dir, error)
    except SlurmError as error:
        raise _with_phase(error, job) from error
    _log(run_dir, now(), f"Submitted batch job {job_id}, phase {job.plan.phase + 1} of "
         f"{job.plan.phases}, {job.plan.num_nodes} nodes, run {job.plan.run}")  # fmt: skip
    return Submitted(job=job, job_id=job_id, run_dir=run_dir)


def _find(job: PhaseJob, slurm: Slurm, run_dir: Path, error: SlurmUnavailableError) -> str:
    """The id of a job whose submission got no answer, by the run id in its Comment.

    Raises:
        SlurmError: the job is not in the queue, or whether it is cannot be told.
    """
    try:
        jobs = slurm.jobs(uid=os.getuid())
    except SlurmError:
        raise _PerhapsSubmittedError(error, run_dir) from error
    for candidate in jobs:
        if _is_phase(candidate.comment, job.plan.comment_record):
            return str(candidate.job_id)
    if job.plan.comment_record is None:
        raise _PerhapsSubmittedError(error, run_dir) from error
    raise _with_phase(error, job) from error


def _is_phase(comment: str, comment_record: CommentRecord | None) -> bool:
    if comment_record is None:
        return False
    try:
        found = parse_comment(comment)
    except CommentRecordError:
        return False
    return (found.run, found.phase) == (comment_record.run, comment_record.phase)


def _log(run_dir: Path, now: datetime, message: str) -> None:
    """The first line of run.log. The job is in the queue: a full disk must not undo that."""
    with suppress(OSError):
        text = runlog.line(runlog.MAIN, message, at=now.timestamp())
        runlog.append(RunDir(run_dir).log, text)


def _cancel(done: Iterable[Submitted], slurm: Slurm) -> list[Submitted]:
    """Cancel jobs, the last first, so that none starts because another ended; what is left."""
    left = []
    for item in reversed(list(done)):
        try:
            slurm.cancel(int(item.job_id))
        except SlurmError:
            left.append(item)
    return left


def _cancel_unheard(submission: Submission, slurm: Slurm) -> None:
    """Cancel a job whose submission was interrupted after Slurm had taken it."""
    with suppress(SlurmError):
        for candidate in slurm.jobs(uid=os.getuid()):
            if any(
                _is_phase(candidate.comment, job.plan.comment_record) for job in submission.jobs
            ):
                slurm.cancel(candidate.job_id)


def _with_phase(error: SlurmError, job: PhaseJob) -> SlurmError:
    """Slurm's answer, with the phase that it is about."""
    phase = f"phase {job.plan.phase + 1}: " if job.plan.phases > 1 else ""
    return type(error)(f"{phase}{error}", stderr=error.stderr)
