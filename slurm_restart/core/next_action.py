"""Say what happens to a run next, and when."""

from slurm_restart.core.history import History
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.recovery import Recovery
from slurm_restart.core.run_counters import RunCounters
from slurm_restart.frozen import frozen

_OBSERVES = "the site only observes (mode = observe)"
_COMPLETES = "Slurm completes the end of this attempt"
_NO_HOOK = "no hook: EpilogSlurmctld is not set"


@frozen
class NextAction:
    """What happens next. `at` is epoch seconds; None: nobody knows."""

    text: str
    at: int | None = None


@frozen
class Restarts:
    """Who restarts a run beside its own supervisor, and where, and how often it was restarted."""

    recovery: Recovery | None = None
    """What the run asks for; None: not known."""
    has_hook: bool = True
    """False: slurmctld runs no program at the end of a job."""
    observes: bool = False
    """The site is in observe mode, so that its hook restarts nothing."""
    counters: RunCounters | None = None
    """None: not known."""
    ended: str | None = None
    """Why the run has ended, by its run directory; None: not known."""


def next_action(
    job: Job | None,
    record: CommentRecord | None,
    history: History | None,
    restarts: Restarts,
    *,
    now: float,
) -> NextAction:
    """Return what happens to a run next.

    Args:
        job: as Slurm shows it; None: Slurm does not know it any more.
        record: the job's comment record; None: it has none.
        history: the run's journal; None: it cannot be read.
        restarts: who restarts the run.
        now: epoch seconds.
    """
    if job is None or job.over:
        return _ended(job, history, restarts)
    if job.completing:
        return NextAction(text=_completing(record, restarts))
    if job.held:
        return NextAction(text=f"nothing until the job is released (scontrol release {job.name})")
    match job.state:
        case JobState.PENDING:
            return _pending(job, now)
        case JobState.RUNNING:
            return _running(job, record, restarts)
        case _:
            return NextAction(text="nothing until Slurm lets the job go on")


def _ended(job: Job | None, history: History | None, restarts: Restarts) -> NextAction:
    last = history.ends[-1] if history is not None and history.ends else None
    if last is not None and last.observed:
        return NextAction(text=f"nothing: {_OBSERVES}")
    # After a restart it has ended without an attempt, as if it is cancelled while it waits.
    why = restarts.ended if last is None or last.action.restarts else last.reason
    why = why or _shown_reason(job)
    return NextAction(text="nothing: the run has ended" + (f": {why}" if why else ""))


def _shown_reason(job: Job | None) -> str | None:
    """Return what Slurm shows of an end that nobody has decided, as of a script that was killed."""
    if job is None or job.state is not JobState.FAILED or job.reason in ("", "None"):
        return None
    signal = f", signal {job.signal}" if job.signal else ""
    return f"Slurm shows {job.state.value}, {job.reason}{signal}"


def _completing(record: CommentRecord | None, restarts: Restarts) -> str:
    if record is not None and record.self_requeue:
        return f"{_COMPLETES}; its supervisor decides whether another one follows"
    if not restarts.has_hook:
        return f"{_COMPLETES}; nobody but Slurm itself requeues the job ({_NO_HOOK})"
    text = "the controller judges the end of this attempt"
    return f"{text} and does nothing: {_OBSERVES}" if restarts.observes else text


def _pending(job: Job, now: float) -> NextAction:
    attempt = "the next attempt" if job.restarts else "the first attempt"
    if job.reason == "Dependency":
        return NextAction(text=f"{attempt} starts after the jobs that it depends on")
    begins = job.eligible_time
    if begins is not None and begins > now:
        return NextAction(text=f"{attempt} starts, not before its begin time", at=begins)
    return NextAction(text=f"{attempt} starts when Slurm has the nodes for it ({job.reason})")


def _running(job: Job, record: CommentRecord | None, restarts: Restarts) -> NextAction:
    if record is None:
        return NextAction(text="nothing: the job is not managed by this plugin")
    if record.is_stopped(job.restarts):
        text = "the run ends with this attempt: a person asked for that (csx-restart stop)"
    else:
        text = _if_it_fails(record, restarts)
    if job.start_time is None or job.time_limit is None:
        return NextAction(text=text)
    return NextAction(text=f"{text}; its time limit", at=job.start_time + job.time_limit)


def _if_it_fails(record: CommentRecord, restarts: Restarts) -> str:
    in_place = restarts.recovery is not None and restarts.recovery.in_place
    nobody = _why_no_requeue(record, restarts)
    if nobody is not None and not in_place:
        itself = "; if it loses a node, Slurm itself requeues it" if nobody == _NO_HOOK else ""
        verb = "requeues" if restarts.recovery is None else "restarts"
        return f"if it fails, nobody {verb} it: {nobody}{itself}"
    left = _left(record, restarts.counters)
    if left is None:
        return "if it fails without progress, the run ends"
    if nobody is not None:
        where = "its supervisor restarts it in place if that is right"
        return f"if it fails, {where}, else the run ends ({nobody}): {left}"
    return f"if it fails, {_who_restarts(record, restarts.recovery)}: {left}"


def _why_no_requeue(record: CommentRecord, restarts: Restarts) -> str | None:
    """Return why neither the hook nor the supervisor requeues the job; None: one of them does."""
    if record.self_requeue:
        return None
    if restarts.recovery is not None and not restarts.recovery.requeues:
        return f"recovery: {restarts.recovery.value}"
    if not restarts.has_hook:
        return _NO_HOOK
    return _OBSERVES if restarts.observes else None


def _left(record: CommentRecord, counters: RunCounters | None) -> str | None:
    """Return how many restarts are left; None: none is."""
    if counters is None or counters.failures is None:
        return f"at most {record.max_restarts} in a row without progress"
    left = record.max_restarts - counters.failures
    return f"{left} more in a row without progress" if left > 0 else None


def _who_restarts(record: CommentRecord, recovery: Recovery | None) -> str:
    match recovery:
        case None if record.self_requeue:
            return "its supervisor restarts it"
        case None:
            return "it is restarted"
        case Recovery.REQUEUE if record.self_requeue:
            return "its supervisor requeues the job"
        case Recovery.REQUEUE:
            return "the hook requeues the job"
        case _ if record.self_requeue:
            return "its supervisor restarts it in place, or else requeues the job"
        case _:
            return "its supervisor restarts it in place, or else the hook requeues it"
