"""`csx-restart resume`: take up a run that has ended, as a new job in the same run directory."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import click

from slurm_restart.cli import resume_plan
from slurm_restart.cli.find_run import resolve, slurm_here
from slurm_restart.cli.job_record import record_of
from slurm_restart.cli.options import json_option
from slurm_restart.cli.resume_plan import Kept
from slurm_restart.cli.run_note import note
from slurm_restart.cli.site import site_option, site_or_defaults
from slurm_restart.cli.steer import INDENT, is_phase
from slurm_restart.cli.table import state_of
from slurm_restart.cli.terminal import output_width, wrap_lines
from slurm_restart.control.find_journal import find_journal
from slurm_restart.control.locked_file import try_lock
from slurm_restart.control.site import Site
from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import CommentRecord, format_comment
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import (
    JobNotFoundError,
    SlurmError,
    SlurmUnavailableError,
    StateError,
    UsageError,
)
from slurm_restart.frozen import frozen
from slurm_restart.slurm.commands import Commands
from slurm_restart.submit.find_submitted import find_submitted
from slurm_restart.supervise.prepare_attempt import next_start
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.submission_record import SubmissionRecord

LOCK = "resume.lock"
"""The file in the run directory that the command locks."""


@click.command()
@click.argument("run")
@click.option("--reset-count", is_flag=True, help="Count restarts from zero again.")
@click.option("--clear-nodes", is_flag=True, help="Exclude none of the nodes that were to blame.")
@site_option
@json_option
def command(
    run: str,
    reset_count: bool,  # noqa: FBT001 - a flag, like the two others
    clear_nodes: bool,  # noqa: FBT001
    site_path: Path,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Take up RUN (a job id or a run directory), which has ended, from its last checkpoint.

    The phase is submitted as a new job in the same run directory, with the options of its first
    submission (without --begin, --deadline, --dependency and --hold), the settings that
    `csx-restart set` has changed, and the environment of this command. The later phases of the run
    are submitted too, each after the one before.

    The restarts without progress and in all go on from where they were, and nodes that the run
    excludes stay excluded for as long as the new job lasts; --reset-count and --clear-nodes end
    that.

    A run that still waits, runs or is COMPLETING is refused, as is a phase that has completed. Of
    two commands at once one takes the run up.

    Exit codes: 0 submitted; 2 not possible for this run, or not yours; 4 refused by Slurm;
    5 unknown job; 7 the run directory cannot be used, or another resume is at work; 75 no answer
    from Slurm.
    """
    run_dir = _run_dir(run)
    resume_plan.require_owner(run_dir)
    site = site_or_defaults(site_path)
    with _locked(run_dir):
        resumption = Resumption(slurm_here(), site, run_dir)
        submitted = resumption.submit(reset_count=reset_count, clear_nodes=clear_nodes)
    if as_json:
        click.echo(json.dumps({"jobs": [asdict(entry) for entry in submitted]}, indent=2))
        return
    lines = [escape_controls(_line(entry)) for entry in submitted]
    click.echo("\n".join(wrap_lines(lines, output_width(), INDENT)))


def _run_dir(run: str) -> Path:
    target = resolve(run)  # it completes the records of attempts that have ended
    if target.run_dir is None:
        raise target.unanswered or JobNotFoundError(
            f"{run}: Slurm does not know this job (any more): give the run directory"
        )
    return target.run_dir


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    path = run_dir / LOCK
    try:
        descriptor = try_lock(path, create=True)
    except OSError as error:
        raise StateError(f"{path}: cannot be locked: {error.strerror}") from error
    if descriptor is None:
        raise StateError(f"{path}: another csx-restart resume of this run is at work")
    try:
        yield
    finally:
        os.close(descriptor)


@frozen
class ResumedJob:
    """A job that takes up a phase of a run."""

    job: str
    """The job id, as sbatch prints it."""
    phase: int
    """From 0."""
    phases: int
    run_dir: str
    checkpoint: str | None
    """Where it starts; None: from scratch."""
    step: int | None
    failures: int
    """Ends in a row without progress that it begins with."""
    total_restarts: int
    excluded: tuple[str, ...]
    after: str | None
    """The job id of the phase that it waits for; None: it waits for none."""


class Resumption:
    """Submits the phases of a run anew.

    Args:
        slurm: the cluster.
        site: where journals may be.
        run_dir: absolute path of the phase that is taken up.
    """

    def __init__(self, slurm: Commands, site: Site, run_dir: Path) -> None:
        self._slurm = slurm
        self._site = site
        self._run_dir = run_dir
        self._plan = resume_plan.load_plan(run_dir)
        self._record = SubmissionRecord.load(run_dir)
        self._jobs = slurm.jobs(uid=os.geteuid())

    def submit(self, *, reset_count: bool, clear_nodes: bool) -> list[ResumedJob]:
        """Submit the phase and the later ones; return what was submitted.

        Raises:
            UsageError: the phase is going on, has completed, or waits for one before.
            SlurmError: Slurm refuses a phase; none of them is left in the queue.
        """
        index = self._plan.phase
        phases = [Path(text) for text in self._record.phases[index:]]
        plans = [resume_plan.load_plan(path) for path in phases]
        self._require_ended(phases[0], plans[0])
        after = self._phase_before(index)
        for plan in plans[1:]:
            self._cancel_waiting(plan)
        done: list[ResumedJob] = []
        try:
            for path, plan in zip(phases, plans, strict=True):
                keep = self._kept(path, plan, reset_count=reset_count, clear_nodes=clear_nodes)
                entry = self._submit_phase(path, plan, keep, after)
                after = entry.job
                done.append(entry)
        except BaseException:
            for entry in reversed(done):
                with suppress(SlurmError):
                    self._slurm.cancel(int(entry.job))
            raise
        for path, entry in zip(phases, done, strict=True):
            note(path, f"resume: {_line(entry)}")
        return done

    def _live(self, plan: RunPlan) -> Job | None:
        return next((job for job in self._jobs if is_phase(job, plan) and not job.over), None)

    def _require_ended(self, run_dir: Path, plan: RunPlan) -> None:
        if (job := self._live(plan)) is not None:
            raise UsageError(
                f"job {job.name} of this run is {state_of(job)}: expected a run that has ended "
                "(csx-restart stop ends it)"
            )
        if resume_plan.has_completed(run_dir):
            following = self._record.phases[plan.phase + 1 : plan.phase + 2]
            more = f"; the next phase is {following[0]}" if following else ""
            raise UsageError(f"{run_dir}: the phase has completed: nothing is left to do{more}")

    def _phase_before(self, index: int) -> str | None:
        """Return the job id that the phase has to wait for; None: the one before has completed."""
        if index == 0:
            return None
        before = Path(self._record.phases[index - 1])
        if (job := self._live(resume_plan.load_plan(before))) is not None:
            return str(job.job_id)
        if not resume_plan.has_completed(before):
            raise UsageError(f"{before}: the phase before has not completed: resume that one")
        return None

    def _cancel_waiting(self, plan: RunPlan) -> None:
        """Cancel the former job of a later phase, whose dependency cannot be satisfied any more."""
        job = self._live(plan)
        if job is not None:
            self._slurm.cancel(job.name)

    def _kept(self, path: Path, plan: RunPlan, *, reset_count: bool, clear_nodes: bool) -> Kept:
        attempts = RunDir(path).attempts()
        former_id = resume_plan.former_job_id(attempts)
        former = None
        if former_id is not None:
            former = next((job for job in self._jobs if job.job_id == former_id), None)
        found = None
        if former_id is not None:
            found = find_journal(self._site, job_id=former_id, run=plan.run, uid=os.geteuid())
        base = plan.comment_record
        assert base is not None  # noqa: S101 - load_plan has refused others
        keep = resume_plan.kept(attempts, former, found, base, now=time.time())
        if reset_count:
            keep = replace(keep, failures=0, total=0)
        if clear_nodes:
            keep = replace(keep, nodes=(), cleared=resume_plan.now_cleared())
        return keep

    def _submit_phase(self, path: Path, plan: RunPlan, keep: Kept, after: str | None) -> ResumedJob:
        former = [job for job in self._jobs if is_phase(job, plan)]
        last = max(former, key=lambda job: job.submit_time or 0, default=None)
        record = resume_plan.new_record(plan, record_of(last) if last else None, keep)
        known = {node.name for node in self._slurm.nodes()}
        nodes = tuple(name for name in keep.nodes if name in known)
        own = SubmissionRecord.load(path)
        words = resume_plan.sbatch_arguments(
            own.arguments,
            format_comment(record, plan.user_comment),
            excluded=nodes,
            after=after,
        )
        new_run = RunDir(path)
        begin = next_start(plan, new_run, new_run.attempts())
        os.chdir(own.directory)
        try:
            job_id = self._slurm.submit(str(path / own.script), words)
        except SlurmUnavailableError as error:
            job_id = self._find_submitted(record, error)
        return ResumedJob(
            job=job_id,
            phase=plan.phase,
            phases=plan.phases,
            run_dir=str(path),
            checkpoint=begin.checkpoint,
            step=begin.step,
            failures=keep.failures,
            total_restarts=keep.total,
            excluded=nodes,
            after=after,
        )

    def _find_submitted(self, record: CommentRecord, error: SlurmUnavailableError) -> str:
        """Return the id of a job whose submission got no answer, or none with a job id."""
        with suppress(SlurmError):
            former = {job.job_id for job in self._jobs}
            if (job_id := find_submitted(self._slurm, record, former=former)) is not None:
                return job_id
        raise SlurmUnavailableError(
            f"{error}\nthe job may be in the queue nevertheless: look with csx-restart list or "
            "squeue --me before the run is taken up again",
            stderr=error.stderr,
        ) from error


def _line(entry: ResumedJob) -> str:
    phase = "" if entry.phases == 1 else f"phase {entry.phase + 1} of {entry.phases}, "
    begin = "from scratch"
    if entry.checkpoint:
        step = "" if entry.step is None else f", step {entry.step}"
        begin = f"from {entry.checkpoint}{step}"
    counters = f"{entry.failures} without progress, {entry.total_restarts} restarts in all"
    nodes = f"; excluded {','.join(entry.excluded)}" if entry.excluded else ""
    waits = f", after job {entry.after}" if entry.after else ""
    return f"Submitted batch job {entry.job}: {phase}{begin}{waits}; {counters}{nodes}"
