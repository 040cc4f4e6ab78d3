"""Say what happens to a run next, and when."""

from slurm_restart.core.history import History
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.run_counters import count_now
from slurm_restart.frozen import frozen

_OBSERVES = "the site only observes (mode = observe)"


@frozen
class NextAction:
    """What happens next. `at` is epoch seconds; None: nobody knows."""

    text: str
    at: int | None = None


def next_action(
    job: Job | None,
    record: CommentRecord | None,
    history: History | None,
    *,
    now: float,
    observes: bool = False,
) -> NextAction:
    """Return what happens to a run next.

    Args:
        job: as Slurm shows it; None: Slurm does not know it any more.
        record: the job's comment record; None: it has none.
        history: the run's journal; None: it cannot be read.
        now: epoch seconds.
        observes: whether the site is in observe mode, so that its hook restarts nothing.
    """
    if job is None or job.over:
        return _ended(history)
    if job.completing:
        text = "the controller judges the end of this attempt"
        return NextAction(text=f"{text} and does nothing: {_OBSERVES}" if observes else text)
    if job.held:
        return NextAction(text=f"nothing until the job is released (scontrol release {job.name})")
    match job.state:
        case JobState.PENDING:
            return _pending(job, now)
        case JobState.RUNNING:
            return _running(job, record, history, observes=observes)
        case _:
            return NextAction(text="nothing until Slurm lets the job go on")


def _ended(history: History | None) -> NextAction:
    if history is None or not history.ends:
        return NextAction(text="nothing: the run has ended")
    last = history.ends[-1]
    if last.observed:
        return NextAction(text=f"nothing: {_OBSERVES}")
    return NextAction(text=f"nothing: the run has ended: {last.reason}")


def _pending(job: Job, now: float) -> NextAction:
    attempt = "the next attempt" if job.restarts else "the first attempt"
    if job.reason == "Dependency":
        return NextAction(text=f"{attempt} starts after the jobs that it depends on")
    begins = job.eligible_time
    if begins is not None and begins > now:
        return NextAction(text=f"{attempt} starts, not before its begin time", at=begins)
    return NextAction(text=f"{attempt} starts when Slurm has the nodes for it ({job.reason})")


def _running(
    job: Job, record: CommentRecord | None, history: History | None, *, observes: bool
) -> NextAction:
    if record is None:
        return NextAction(text="nothing: the job is not managed by this plugin")
    if record.is_stopped(job.restarts):
        text = "the run ends with this attempt: a person asked for that (csx-restart stop)"
    elif observes:
        text = f"if it fails, the controller does nothing: {_OBSERVES}"
    elif history is None:
        text = "if it fails, the controller decides"
    else:
        left = max(0, record.max_restarts - count_now(history, record).failures)
        text = (
            f"if it fails, it is restarted: {left} more in a row without progress"
            if left
            else "if it fails without progress, the run ends"
        )
    if job.start_time is None or job.time_limit is None:
        return NextAction(text=text)
    return NextAction(text=f"{text}; its time limit", at=job.start_time + job.time_limit)
