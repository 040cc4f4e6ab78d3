"""Submit all phases: test each, make directories, submit; undo everything after a failure."""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from slurm_restart.errors import (
    CsxError,
    NoJobIdError,
    SlurmError,
    SlurmUnavailableError,
    StateError,
)
from slurm_restart.frozen import frozen
from slurm_restart.logs.rules import MAX_BYTES
from slurm_restart.safe_files import read_bounded
from slurm_restart.slurm.interface import Slurm
from slurm_restart.submit.directories import RunDirectories
from slurm_restart.submit.find_submitted import find_submitted, is_phase
from slurm_restart.submit.submission import PhaseJob, Submission
from slurm_restart.trainer import runlog
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.submission_record import SubmissionRecord

UNKNOWN_RUN_DIR = "YYYYmmdd_HHMMSS_restartable"
# Answers of --test-only for a job that sbatch accepts: the job waits.
_WAITS = ("Requested node configuration is not available", "Requested nodes are busy")


class _UnknownSubmissionError(SlurmUnavailableError):
    """It is not known whether the job is in the queue, so its run directory must stay."""

    def __init__(self, error: SlurmUnavailableError, job: PhaseJob, run_dir: Path) -> None:
        self.run_dir = run_dir
        found = "it will run as submitted"
        if job.plan.phases > 1:
            found = "cancel it with scancel, as the other phases are not in the queue"
        super().__init__(
            f"{_with_phase(error, job)}\nthe job may be in the queue nevertheless, and nothing of "
            f"it was removed: look for {run_dir / job.batch_script} in the output of "
            f"squeue --me -o '%A %o'; if it is there, {found}; if it is not, remove {run_dir}",
            stderr=error.stderr,
        )


@frozen
class SubmittedPhase:
    """A submitted phase."""

    job: PhaseJob
    job_id: str
    run_dir: Path


def test_phases(submission: Submission, slurm: Slurm) -> list[str]:
    """Test every phase with sbatch --test-only; return the answers.

    Nothing is created but a temporary script, and nothing is submitted.

    Raises:
        SlurmError: Slurm refuses a phase; the message names it.
    """
    return [_test_only(job, slurm) for job in submission.jobs]


def check_phases(submission: Submission, slurm: Slurm) -> list[str]:
    """Check that Slurm accepts every phase; return why a phase cannot start with today's nodes.

    Raises:
        SlurmError: Slurm refuses a phase; the message names it.
    """
    waits = []
    for job in submission.jobs:
        try:
            _test_only(job, slurm)
        except SlurmUnavailableError:
            raise
        except SlurmError as error:
            if not any(text in f"{error} {error.stderr}" for text in _WAITS):
                raise
            waits.append(f"cannot start with today's nodes: {error}")
    return waits


def _test_only(job: PhaseJob, slurm: Slurm) -> str:
    with tempfile.TemporaryDirectory(prefix="csx-sbatch-") as directory:
        script = Path(directory) / job.batch_script
        script.write_bytes(os.fsencode(job.script(preview_run_dir(job))))
        try:
            return slurm.submit(str(script), job.arguments(), test_only=True).strip()
        except SlurmError as error:
            raise _with_phase(error, job) from error


def preview_run_dir(job: PhaseJob) -> Path:
    """Return a placeholder for the run directory before it is made."""
    return Path(job.plan.model_dir) / UNKNOWN_RUN_DIR


def submit(
    submission: Submission,
    slurm: Slurm,
    *,
    now: Callable[[], datetime],
    report: Callable[[SubmittedPhase], None],
) -> list[SubmittedPhase]:
    """Submit every phase, each after the one before it.

    Args:
        submission: the phases, checked.
        slurm: the cluster.
        now: the local time.
        report: called for each phase after all phases have been submitted.

    Raises:
        SlurmError: a phase was refused. No job and no directory of the submission remains unless
            the message names it.
        StateError: a run directory cannot be written; the same holds.
    """
    directories = RunDirectories()
    done: list[SubmittedPhase] = []
    try:
        for job in submission.jobs:
            done.append(_submit_one(job, slurm, directories, now, done[-1] if done else None))
    except BaseException as error:
        # After any error, ^C included: half a submission would train half a run.
        left = _cancel(done, slurm)
        if not isinstance(error, CsxError):
            _cancel_unreported(submission, slurm)
        kept = {item.run_dir for item in left}
        if isinstance(error, _UnknownSubmissionError):
            kept.add(error.run_dir)
        directories.remove(kept)
        if left and isinstance(error, CsxError):
            jobs = " ".join(item.job_id for item in left)
            raise SlurmError(f"{error}\nstill in the queue: scancel {jobs}") from error
        raise
    _save_record(done)
    for item in done:
        report(item)
    return done


def _save_record(done: Sequence[SubmittedPhase]) -> None:
    """Write how the phases were submitted, for `csx-restart resume`.

    Errors are ignored, because the jobs are in the queue.
    """
    phases = tuple(str(item.run_dir) for item in done)
    for number, item in enumerate(done):
        after = done[number - 1].job_id if number else None
        record = SubmissionRecord(
            directory=str(Path.cwd()),
            script=item.job.batch_script,
            arguments=item.job.arguments(after),
            phases=phases,
        )
        with suppress(OSError):
            record.save(item.run_dir)


def _copy_rules(rules: Sequence[Path], directory: Path) -> None:
    """Copy the run's rules in their order, so that later edits do not affect the run."""
    for number, path in enumerate(rules):
        directory.mkdir(exist_ok=True)
        write_atomic(directory / f"{number:02}-{path.stem}.yaml", read_bounded(path, MAX_BYTES))


def _submit_one(
    job: PhaseJob,
    slurm: Slurm,
    directories: RunDirectories,
    now: Callable[[], datetime],
    before: SubmittedPhase | None,
) -> SubmittedPhase:
    run_dir = directories.make(Path(job.plan.model_dir), now())
    try:
        files = RunDir(run_dir)
        name, data, mode = job.input_file
        write_atomic(run_dir / name, data, mode=mode)
        write_atomic(run_dir / job.batch_script, os.fsencode(job.script(run_dir)), mode=0o755)
        _copy_rules(job.rules, files.rules)
        job.plan.save(files.plan)
    except OSError as error:
        raise StateError(f"{run_dir}: cannot write: {error}") from error
    after = before.job_id if before else None
    try:
        job_id = slurm.submit(str(run_dir / job.batch_script), job.arguments(after))
    except SlurmUnavailableError as error:
        job_id = _find_job_id(job, slurm, run_dir, error)
    except SlurmError as error:
        raise _with_phase(error, job) from error
    _log(run_dir, now(), f"Submitted batch job {job_id}, {_content(job)}, run {job.plan.run}")
    return SubmittedPhase(job=job, job_id=job_id, run_dir=run_dir)


def _content(job: PhaseJob) -> str:
    plan = job.plan
    if job.is_script:
        return plan.config_path
    return f"phase {plan.phase + 1} of {plan.phases}, {plan.num_nodes} nodes"


def _find_job_id(job: PhaseJob, slurm: Slurm, run_dir: Path, error: SlurmUnavailableError) -> str:
    """Return the id of a job whose submission got no answer, or none with a job id.

    Raises:
        SlurmError: the job is not in the queue, or it is not known whether it is.
    """
    record = job.plan.comment_record
    try:
        job_id = find_submitted(slurm, record)
    except SlurmError:
        raise _UnknownSubmissionError(error, job, run_dir) from error
    if job_id is not None:
        return job_id
    if record is None or isinstance(error, NoJobIdError):
        raise _UnknownSubmissionError(error, job, run_dir) from error
    raise _with_phase(error, job) from error


def _log(run_dir: Path, now: datetime, message: str) -> None:
    """Write the first line of run.log. Errors are ignored, because the job is in the queue."""
    with suppress(OSError):
        text = runlog.line(runlog.MAIN, message, at=now.timestamp())
        runlog.append(RunDir(run_dir).log, text)


def _cancel(done: Iterable[SubmittedPhase], slurm: Slurm) -> list[SubmittedPhase]:
    """Cancel jobs, the last first, because the end of one may start the next; return the rest."""
    left = []
    for item in reversed(list(done)):
        try:
            slurm.cancel(int(item.job_id))
        except SlurmError:
            left.append(item)
    return left


def _cancel_unreported(submission: Submission, slurm: Slurm) -> None:
    """Cancel a job whose submission was interrupted after Slurm had accepted it."""
    with suppress(SlurmError):
        for candidate in slurm.jobs(uid=os.getuid()):
            if any(is_phase(candidate.comment, job.plan.comment_record) for job in submission.jobs):
                slurm.cancel(candidate.job_id)


def _with_phase(error: SlurmError, job: PhaseJob) -> SlurmError:
    """Return the error with its phase in the message."""
    phase = f"phase {job.plan.phase + 1}: " if job.plan.phases > 1 else ""
    return type(error)(f"{phase}{error}", stderr=error.stderr)
