"""What `csx-restart status` knows of one run: from Slurm, the journal and the run directory."""

import time
from typing import Any

from slurm_restart.cli.find_run import Target, slurm_here
from slurm_restart.cli.job_record import record_of
from slurm_restart.cli.run_directory import Directory, count_restarts, read_directory
from slurm_restart.cli.stop_advice import may_have_hook, stop_advice
from slurm_restart.cli.table import state_of
from slurm_restart.control.find_journal import Found
from slurm_restart.control.site import Site
from slurm_restart.core.history import History, replay
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.next_action import NextAction, Restarts, next_action
from slurm_restart.core.run_counters import RunCounters, count_now
from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.trainer.attempt_records import Compiled, read_lines
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir

COMMENT_MISSING = "the job's Comment holds no record of this plugin"


@frozen
class RunPhase:
    """A phase of a run, which is a job of its own."""

    phase: int
    """From 0."""
    job_id: int
    state: str
    reason: str


@frozen
class StatusExclusion:
    """A node that the run avoids. Times are epoch seconds."""

    node: str
    since: int
    until: int
    evidence: str


@frozen
class StatusCompile:
    """The last compile of a size for smaller restarts that has ended by itself."""

    num_csx: int
    outcome: str
    """`compiled`; `refused`: the model does not compile for this size; `failed`: for another
    reason."""
    seconds: float
    """How long it took."""
    reason: str
    """Why it failed; empty: it did not."""


@frozen
class RunStatus:
    """Where a run stands. Times are epoch seconds, durations seconds; None: not known."""

    job_id: int | None
    run: str | None
    run_dir: str | None
    source: str | None
    """The journal that was read; None: none can be."""
    state: str | None
    """Slurm's state; None: Slurm does not know the job any more, or does not answer."""
    slurm_answers: bool
    reason: str | None
    phase: int | None
    phases: int | None
    other_phases: tuple[RunPhase, ...]
    attempt: int | None
    step: int | None
    """The last step that is on record."""
    first_step: int | None
    last_step: int | None
    """Where the run is done."""
    unit: str | None
    restarts: int | None
    """Those by Slurm, and those in the same allocation."""
    in_place: int | None
    """Restarts in the same allocation, of which Slurm does not know."""
    failures: int | None
    """Ends in a row without progress that counted."""
    max_num_restarts: int | None
    nodes: tuple[str, ...]
    excluded: tuple[str, ...]
    """The job's ExcNodeList."""
    exclusions: tuple[StatusExclusion, ...]
    compiles: tuple[StatusCompile, ...]
    """What was compiled ahead, the largest size first."""
    begins: int | None
    next: str
    """What happens next."""
    next_at: int | None
    time_limit: int | None
    time_left: int | None
    admin_comment: str | None
    comment_record: str | None
    """What is wrong with the job's comment record; None: nothing."""
    to_stop: str | None
    to_resume: str | None
    """The command that takes the run up again; None: it goes on, has completed, or cannot be."""
    observed: bool
    """The site is in observe mode, or was when the run ended: nothing is done about ends."""
    backend: str
    summary: dict[str, Any]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


def observes(target: Target, site: Site) -> bool:
    """Return whether nothing will be done about the run's ends, as the site is in observe mode."""
    record = record_of(target.job)
    return site.observe and not (record is not None and record.self_requeue)


def run_status(target: Target, found: Found | None, site: Site) -> RunStatus:
    """Return where a run stands now."""
    job, record = target.job, record_of(target.job)
    history = None if found is None else replay(found.events)
    known = read_directory(target)
    plan, start = known.plan, known.start
    now = time.time()
    going_on = job is not None and not job.over
    observed = going_on and observes(target, site)
    counters = count_now(job, history, record, known.own)
    coming = _next(target, history, _restarts(target, known, counters, observed=observed), now)
    step, unit = _position(record, history, known)
    return RunStatus(
        job_id=target.job_id,
        run=target.run,
        run_dir=None if target.run_dir is None else str(target.run_dir),
        source=None if found is None else str(found.path),
        state=None if job is None else state_of(job),
        slurm_answers=target.unanswered is None,
        reason=None if job is None else job.reason,
        phase=record.phase if record else plan.phase if plan else None,
        phases=plan.phases if plan else None,
        other_phases=_other_phases(job, record),
        attempt=_attempt(target, record, known),
        step=step,
        first_step=None if start is None else start.first_step,
        last_step=None if start is None else start.last_step,
        unit=unit,
        restarts=count_restarts(job, known.own, counters),
        in_place=None if counters is None else counters.in_place,
        failures=None if counters is None else counters.failures,
        max_num_restarts=_max_restarts(record, plan),
        nodes=() if job is None else job.nodes,
        excluded=() if job is None else job.exc_nodes,
        exclusions=_exclusions(history, now),
        compiles=_compiles(target),
        begins=job.eligible_time if job and job.state is JobState.PENDING else None,
        next=coming.text,
        next_at=coming.at,
        time_limit=None if job is None else job.time_limit,
        time_left=_time_left(job, now),
        admin_comment=None if job is None else job.admin_comment,
        comment_record=COMMENT_MISSING if job is not None and record is None else None,
        to_stop=None if job is None else stop_advice(job),
        to_resume=_to_resume(job, known),
        observed=observed or bool(history and history.ends and history.ends[-1].observed),
        backend="commands (one job is always read by Slurm's commands)",
        summary=target.summary,
        warnings=target.warnings,
        problems=(
            *target.problems,
            *(() if target.unanswered is None else (str(target.unanswered),)),
        ),
    )


def _next(target: Target, history: History | None, restarts: Restarts, now: float) -> NextAction:
    if target.unanswered is not None:
        return NextAction(text="not known: Slurm does not answer")
    return next_action(target.job, record_of(target.job), history, restarts, now=now)


def _restarts(
    target: Target, known: Directory, counters: RunCounters | None, *, observed: bool
) -> Restarts:
    policy = None if known.plan is None else known.plan.policy
    return Restarts(
        recovery=None if policy is None else policy.recovery,
        has_hook=_has_hook(target),
        observes=observed,
        counters=counters,
        ended=None if known.own is None else known.own.ended,
    )


def _to_resume(job: Job | None, known: Directory) -> str | None:
    plan = known.plan
    if job is None or not job.over or job.state is JobState.COMPLETED or plan is None:
        return None
    is_taken_up = known.start is not None and not known.of_this_job
    if is_taken_up or plan.policy is None or (plan.array, plan.array_task) != (None, None):
        return None
    return f"csx-restart resume {job.name}"


def _has_hook(target: Target) -> bool:
    """Return whether slurmctld runs a program at the end of a job, where that matters."""
    job, record = target.job, record_of(target.job)
    if job is None or job.over or record is None or record.self_requeue:
        return True
    return may_have_hook(slurm_here())


def _compiles(target: Target) -> tuple[StatusCompile, ...]:
    if target.run_dir is None:
        return ()
    records = read_lines(Compiled, RunDir(target.run_dir).compiles)[0]
    last = {record.num_csx: record for record in records}
    return tuple(
        StatusCompile(
            num_csx=size,
            outcome=record.outcome.value,
            seconds=record.seconds,
            reason=record.reason,
        )
        for size, record in sorted(last.items(), reverse=True)
    )


def _position(
    record: CommentRecord | None, history: History | None, known: Directory
) -> tuple[int | None, str | None]:
    """Return the highest step that is on record anywhere, and what it counts."""
    step, unit = None, None if record is None else record.unit
    if record is not None and record.step is not None:
        step = record.step
    elif history is not None and history.ends:
        step, unit = history.ends[-1].step, history.ends[-1].unit
    if known.start is not None and known.of_this_job and unit in (None, known.start.unit):
        unit = known.start.unit
        step = max((each for each in (step, known.reached) if each is not None), default=None)
    return step, None if unit is None else unit.value


def _attempt(target: Target, record: CommentRecord | None, known: Directory) -> int | None:
    """Return the number of the newest attempt that is on record anywhere."""
    ended = target.attempts()
    numbers = (
        None if record is None else record.attempt,
        known.start.attempt if known.start is not None and known.of_this_job else None,
        None if record is not None or not ended else len(ended) - 1,
    )
    return max((number for number in numbers if number is not None), default=None)


def _max_restarts(record: CommentRecord | None, plan: RunPlan | None) -> int | None:
    if record is not None:
        return record.max_restarts
    return plan.policy.max_restarts if plan and plan.policy else None


def _exclusions(history: History | None, now: float) -> tuple[StatusExclusion, ...]:
    return tuple(
        StatusExclusion(node=each.node, since=each.since, until=each.until, evidence=each.evidence)
        for each in (history.excluded(now) if history is not None else ())
    )


def _time_left(job: Job | None, now: float) -> int | None:
    """Return the seconds that a running job has left; None: it does not run, or has no limit."""
    if job is None or job.state is not JobState.RUNNING or job.time_limit is None:
        return None
    if job.start_time is None:
        return None
    return max(0, job.start_time + job.time_limit - int(now))


def _other_phases(job: Job | None, record: CommentRecord | None) -> tuple[RunPhase, ...]:
    """Return the other phases of the run that Slurm knows, in order."""
    if job is None or record is None or job.array_task_id is not None:
        return ()
    try:
        jobs = slurm_here().jobs(uid=job.uid)
    except SlurmError:
        return ()
    found = [
        RunPhase(phase=other.phase, job_id=each.job_id, state=state_of(each), reason=each.reason)
        for each in jobs
        if (other := record_of(each)) and other.run == record.run and each.job_id != job.job_id
    ]
    return tuple(sorted(found, key=lambda phase: phase.phase))
