"""Plan what a managed job needs next, for every state of the job and every decision.

The one function that hook, helper and reconciler act by. It compares what the journal wants with
what Slurm shows, so that it does not matter who was interrupted where.
"""

from dataclasses import replace
from enum import Enum
from typing import assert_never

from slurm_restart.core.attempt_stage import (
    AttemptStage,
    Stage,
    find_stage,
    reports_end,
    was_cancelled_waiting,
)
from slurm_restart.core.category import Category
from slurm_restart.core.decision import waits_for_person
from slurm_restart.core.end_rules import NO_REPORT
from slurm_restart.core.exclusions import exclusion_list
from slurm_restart.core.fit_pending import (
    WAIT,
    Fit,
    Observation,
    Plan,
    due_time,
    fit,
    note_once,
    plan_pending,
    restart_comment,
)
from slurm_restart.core.history import FOR_NO_END, History, replay
from slurm_restart.core.job import JobEnd, JobState, NodeState
from slurm_restart.core.journal_events import (
    Action,
    EndEvent,
    EndKey,
    Event,
    FinalEvent,
    IntendEvent,
    StaleRunningEvent,
    StartedEvent,
)
from slurm_restart.core.judge_end import EndCase, Judgement, judge_end, observed_only
from slurm_restart.core.situation import STOPPED
from slurm_restart.core.slurm_operations import (
    SAFE_START,
    JobUpdate,
    Operation,
    Verb,
    merge_admin_comment,
    size_is_ours,
    start_is_ours,
    was_requeued_by_hook,
)
from slurm_restart.frozen import frozen

DEPENDENCY_LOST = "DependencyNeverSatisfied"
EVALUATED = 60
"""Seconds within which Slurm evaluates a dependency (sched_interval's default)."""
POLL = 0.2
"""Seconds until a job that leaves COMPLETING is looked at again."""


class PhaseState(Enum):
    """What has become of the phase before, whose success a later phase depends on."""

    ALIVE = "alive"
    COMPLETED = "completed"
    FAILED = "failed"
    """It has ended for good."""


@frozen
class EarlierPhase:
    """The phase before a later phase of a run, which is a job of its own."""

    job_id: int
    state: PhaseState
    reason: str = ""
    """Why it ended for good."""


@frozen
class RunView:
    """One job of a run as its journal and Slurm show it, with the facts of its last end."""

    history: History
    seen: Observation
    end: JobEnd
    """From the hook if there is one, else from the job's record."""
    named: tuple[str, ...] = ()
    """The node names of the comment record's hostlist, expanded."""
    left_out: tuple[str, ...] = ()
    """The nodes that attempts in its allocation have left out, as the comment record names them."""
    source: str = "hook"
    observe: bool = False
    """Whether the site only observes."""
    born: int = 0
    """When the state directory was made: of ends before, the records may be lost."""
    stale_running_after: float = 60.0
    end_lost: bool = False
    """Whether the hook has run for the attempt that Slurm shows RUNNING, or not yet started: what
    slurmctld had not saved of it is lost."""
    resumed_as: int | None = None
    """The id of a later job that a person has submitted for the same phase of the run."""
    earlier: EarlierPhase | None = None
    """The phase before, where Slurm has given up this job's dependency on it."""


@frozen
class RunPlan:
    """A plan with the judgement that it contains, for the log."""

    plan: Plan
    end: EndKey
    """The end that the plan follows."""
    judgement: Judgement | None = None


def plan(view: RunView) -> RunPlan:
    """Plan one step. Applied until nothing is left to ask for, the job is as it is wanted."""
    view = _with_true_size(view)
    at = find_stage(view.seen.job, view.history, view.seen.comment_record, view.end.nodes)
    known, judgement, history = at.known, None, view.history
    if at.unjudged and at.ended is not None and _is_to_be_judged(view, at):
        judgement = _judge_lost(view, at.ended) if at.start_lost else _judge(view, at.ended)
        history = replay(judgement.events, history)
        known = history.end_of(at.ended)
    step = _converge(replace(view, history=history), replace(at, known=known))
    if judgement is not None:
        step = replace(step, events=(*judgement.events, *step.events))
    key = known.key if known is not None else EndKey(FOR_NO_END, None)
    return RunPlan(plan=step, end=key, judgement=judgement)


def _with_true_size(view: RunView) -> RunView:
    """Return the view with the size that a pending job has had before it lost nodes (--no-kill).

    26.05 then requests as few nodes as were left at the end of the attempt, which is neither the
    submitted size nor one of this plugin's. Any other size that is neither, a person has set.
    """
    seen, job, ends = view.seen, view.seen.job, view.history.ends
    sizes = (view.history, seen.comment_record.job_nodes)
    shown, left = job.shown_nodes, ends[-1].num_nodes if ends else None
    if job.state is not JobState.PENDING or shown is None or job.num_nodes != left:
        return view
    if size_is_ours(job.num_nodes, *sizes) or not size_is_ours(shown, *sizes):
        return view
    return replace(view, seen=replace(seen, job=replace(job, num_nodes=shown)))


def _judge(view: RunView, index: int) -> Judgement:
    seen = view.seen
    judgement = judge_end(
        EndCase(
            end=_with_lost_nodes(view),
            job=seen.job,
            comment_record=seen.comment_record,
            named=view.named,
            left_out=view.left_out,
            nodes=seen.nodes,
            history=view.history,
            site=seen.site,
            now=seen.time,
            index=index,
            source=view.source,
            resumed_as=view.resumed_as,
        )
    )
    return observed_only(judgement) if view.observe else judgement


def _with_lost_nodes(view: RunView) -> JobEnd:
    """Return the end with those nodes of the attempt that the job has lost before (--no-kill).

    Slurm no longer shows them as the job's, but for the batch host. Those that are down now are
    evidence.
    """
    end, started, job = view.end, view.history.started, view.seen.job
    if not end.nodes:
        return end
    held: set[str | None] = set()
    if started is not None and started.submit_time == end.submit_time:
        held.update(started.nodes)
    if job.submit_time == end.submit_time:
        held.add(job.batch_host)
    lost = tuple(
        node
        for node in view.seen.nodes
        if node.down and node.name in held and node.name not in end.nodes
    )
    names = tuple(node.name for node in lost)
    return replace(end, nodes=(*end.nodes, *names), down_nodes=(*end.down_nodes, *lost))


def _judge_lost(view: RunView, index: int) -> Judgement:
    """Judge an end that slurmctld has lost: what it shows of the job belongs to no end."""
    # Without a hook Slurm has no record of the end: the exit code is the reported one.
    code = view.end.exit_code if view.end_lost else view.seen.comment_record.exit or 0
    end = replace(view.end, state=None, lost=True, exit_code=code)
    if view.seen.job.state is JobState.PENDING:
        # Why the job waits, or is held, is no cause of an end.
        end = replace(end, reason="", flags=frozenset(), run_time=None)
    return _judge(replace(view, end=end), index)


def _is_to_be_judged(view: RunView, at: AttemptStage) -> bool:
    job = view.seen.job
    if job.completing and view.source != "hook":
        return False  # its hook knows more: nodes and exit status
    match at.stage:
        case Stage.ENDED:
            # Records from before the state directory was made are lost, not missing.
            waited = was_cancelled_waiting(job, view.history, view.seen.comment_record)
            ended = job.end_time or view.seen.now
            # Whole seconds: an end within that of its birth may have been on record before.
            return job.completing or (ended > view.born and not waited)
        case Stage.REQUEUED | Stage.PENDING:
            return True
        case Stage.RUNNING | Stage.OTHER:
            return False
        case _:
            assert_never(at.stage)


def _converge(view: RunView, at: AttemptStage) -> Plan:
    known = at.known
    if view.observe or (known is not None and known.observed):
        return Plan(events=_observed(view, at.stage, known))
    match at.stage:
        case Stage.ENDED:
            return _ended(view, known)
        case Stage.REQUEUED:
            return _requeued(view, known) if known is not None else Plan()
        case Stage.PENDING:
            return _cancel(view, STOPPED) if _is_stopped(view, at) else _pending(view, at)
        case Stage.RUNNING:
            return _running(view, known)
        case Stage.OTHER:
            return Plan()
        case _:
            assert_never(at.stage)


def _observed(view: RunView, stage: Stage, known: EndEvent | None) -> tuple[Event, ...]:
    """Return what is written down where nothing is done, so that no sweep asks for it again."""
    if stage is Stage.ENDED and not view.seen.job.completing:
        return _record_final(view, known)
    return _record_started(view) if stage is Stage.RUNNING else ()


def _ended(view: RunView, known: EndEvent | None) -> Plan:
    """Plan a job that is not requeued: COMPLETING, or in a final state."""
    job = view.seen.job
    # A person who cancels the job between its requeue and its start leaves a later state.
    stopped = job.state in (JobState.CANCELLED, JobState.COMPLETED, JobState.DEADLINE)
    if known is None or not known.action.restarts or stopped or view.resumed_as is not None:
        return Plan() if job.completing else Plan(events=_record_final(view, known))
    return _restart(view, known, before=(Verb.REQUEUE,))


def _record_final(view: RunView, known: EndEvent | None) -> tuple[FinalEvent, ...]:
    job, final = view.seen.job, view.history.final
    if known is None or job.state is None or job.submit_time is None:
        return ()
    if final is not None and final.restarts == job.restarts and final.at >= known.at:
        return ()
    return (
        FinalEvent(
            at=view.seen.time,
            restarts=job.restarts,
            submit_time=job.submit_time,
            state=job.state.value,
        ),
    )


def _restart(view: RunView, known: EndEvent, *, before: tuple[Verb, ...]) -> Plan:
    """Plan the requeue of a job and the values of its next attempt, while it is COMPLETING."""
    seen = view.seen
    fitted = fit(seen, view.history, known, waited=0)
    job_update, start = _values(view, known, fitted, requeued=not before)
    release = known.action is Action.RELEASE and fitted.size.num_nodes is not None
    return Plan(
        events=fitted.events,
        before=before,
        job_update=job_update,
        start=start,
        after=(Verb.RELEASE,) if release and not before else (),
        look_again=seen.now + POLL,
    )


def _values(
    view: RunView, known: EndEvent, fitted: Fit, *, requeued: bool
) -> tuple[JobUpdate, str | None]:
    seen, job, size = view.seen, view.seen.job, fitted.new_size
    held_nodes = len(view.end.nodes) or job.num_nodes
    standing = size_is_ours(held_nodes, view.history, seen.comment_record.job_nodes)
    begin = job.eligible_time or 0
    # A person who requeued the job may have set a begin time as well.
    chosen = (
        requeued
        and known.requeued
        and begin > seen.now + SAFE_START
        and begin != job.submit_time
        and not start_is_ours(job, view.history, seen.cluster.requeue_delay, seen.now)
    )
    fits = fitted.size.num_nodes is not None
    wait = max(due_time(known) - seen.time, SAFE_START) if fits else WAIT
    return (
        JobUpdate(
            exc_nodes=exclusion_list(job, fitted.history, fitted.own, seen.names),
            own_nodes=fitted.own,
            num_nodes=size if standing and size not in (None, held_nodes) else None,
            start_time=None if chosen else seen.time + wait,
            admin_comment=restart_comment(seen, fitted, known),
        ),
        None if chosen else f"now+{wait}",
    )


def _requeued(view: RunView, known: EndEvent) -> Plan:
    """Plan a job that is requeued already but still COMPLETING."""
    if not known.action.restarts:
        return _stop(view, known)
    intent = view.history.last_intent
    if intent is not None and intent.key == known.key and intent.start_time is not None:
        # Set once; whatever of it Slurm has lost is set again when the job is PENDING.
        return Plan(look_again=view.seen.now + POLL)
    return _restart(view, known, before=())


def _is_stopped(view: RunView, at: AttemptStage) -> bool:
    """Whether a person wants a pending job to end before its attempt starts."""
    stopped = view.seen.comment_record.is_stopped(view.seen.job.restarts)
    return stopped and not at.unjudged and not at.start_lost


def _pending(view: RunView, at: AttemptStage) -> Plan:
    seen, known = view.seen, at.known
    if known is None:
        if at.ended is not None:
            return Plan()
        if seen.comment_record.phase == 0:
            return Plan()
        if seen.job.reason == DEPENDENCY_LOST and view.earlier is not None:
            return _mend_dependency(view, view.earlier)
        return plan_pending(seen, view.history, None)
    if not known.action.restarts:
        return _stop(view, known, by_slurm=at.start_lost)
    return plan_pending(seen, view.history, known)


def _mend_dependency(view: RunView, earlier: EarlierPhase) -> Plan:
    """Plan a later phase whose dependency Slurm has given up, which it never evaluates again.

    That happens when the phase before is requeued after it has ended, or ends as a success that
    Slurm calls PREEMPTED. The dependency is set anew (measured on 22.05, 24.11 and 26.05).
    """
    asked = view.history.last_intent
    if asked is not None and view.seen.now - asked.at < EVALUATED and _sets_dependency(asked):
        return Plan()
    match earlier.state:
        case PhaseState.ALIVE:
            return Plan(job_update=JobUpdate(dependency=f"afterok:{earlier.job_id}"))
        case PhaseState.COMPLETED:
            return Plan(job_update=JobUpdate(dependency=""))
        case PhaseState.FAILED:
            return _cancel(
                view, f"the phase before, job {earlier.job_id}, has ended: {earlier.reason}"
            )
        case _:
            assert_never(earlier.state)


def _sets_dependency(event: IntendEvent) -> bool:
    operations = (Operation.from_text(text) for text in event.operations)
    return any(name == "Dependency" for each in operations for name, _ in each.fields)


def _stop(view: RunView, known: EndEvent, *, by_slurm: bool = False) -> Plan:
    """Plan a job that is requeued or runs although its last end was final.

    Args:
        view: the job.
        known: its last end.
        by_slurm: whether certainly no person has requeued it.
    """
    if known.action is Action.CANCEL:
        return _cancel(view, f"ends here: {known.reason}")
    unasked = by_slurm or _requeued_by_slurm(view, known)
    if waits_for_person(known.category, known.action) or not unasked:
        return Plan()  # a person's decision
    capped = view.seen.job.restarts >= view.seen.site.max_uncounted_restarts
    text = None
    if known.category is Category.COMPLETED:
        # Its next attempt ends as success at once, and its dependents are kept.
        text = "Slurm lost the record of the end and requeued the job: started to end as success"
    elif by_slurm and _was_not_cancelled(view, known):
        text = (
            "Slurm requeued the job after an end without a report: no cancellation; started again"
        )
    if text is not None and not capped:
        noted = note_once(view.seen, view.history, text)
        if view.seen.job.state is JobState.RUNNING or view.seen.job.completing:
            return Plan(events=noted)
        again = replace(known, action=Action.ADJUST, start_at=known.at)
        started = plan_pending(view.seen, view.history, again)
        return replace(started, events=(*noted, *started.events))
    return _cancel(view, f"ends here: {known.reason}; Slurm had requeued it unasked")


def _was_not_cancelled(view: RunView, known: EndEvent) -> bool:
    """Whether an end that was taken for a cancellation, as it had no report, was none.

    The slurmctld that ended the attempt runs still and has requeued the job, which it does to no
    cancelled job. One that was killed since may have forgotten a cancellation.
    """
    boot = view.seen.cluster.boot_time
    return known.rule == NO_REPORT and boot is not None and boot < known.at


def _requeued_by_slurm(view: RunView, known: EndEvent) -> bool:
    """Whether Slurm or csx-epilog, not a person, has requeued a job after its final end.

    Slurm does so for exit codes in RequeueExit and RequeueExitHold, and after it was killed before
    it had saved the end; csx-epilog if Python failed after the judgement. A job that was seen in a
    final state after its end can only have been requeued by a person.
    """
    history, cluster, job = view.history, view.seen.cluster, view.seen.job
    final = history.final
    if known.requeued:
        return False  # it was pending already when its end was judged
    if final is not None and final.restarts == known.index and final.at >= known.at:
        return False
    if known.exit_code in cluster.requeue_exit | cluster.requeue_exit_hold:
        return True
    if was_requeued_by_hook(job, cluster.requeue_delay) or _wanted_cancelled(history, known):
        return True
    if cluster.boot_time is None or cluster.boot_time < known.at:
        return False
    # SubmitTime is when a requeued job leaves COMPLETING: one that was requeued before slurmctld
    # was started was not requeued because of that.
    return job.completing or (job.submit_time or 0) >= cluster.boot_time


def _wanted_cancelled(history: History, known: EndEvent) -> bool:
    """Whether the job's cancellation was wanted since its last end, and may have been lost.

    The reason in AdminComment, which is written first, has taken the place of csx-epilog's text.
    """
    asked = history.last_intent
    return asked is not None and asked.key == known.key and Verb.CANCEL.value in asked.operations


def _cancel(view: RunView, why: str) -> Plan:
    seen = view.seen
    if seen.job.state is JobState.CANCELLED:
        return Plan()
    asked = view.history.last_intent
    if asked is not None and seen.job.completing and Verb.CANCEL.value in asked.operations:
        return Plan()  # Slurm shows the cancellation once COMPLETING is over
    comment = merge_admin_comment(seen.job.admin_comment, f"csx-restart: {why}")
    if seen.job.state is JobState.RUNNING or comment == seen.job.admin_comment:
        return Plan(after=(Verb.CANCEL,))
    return Plan(job_update=JobUpdate(admin_comment=comment), after=(Verb.CANCEL,))


def _running(view: RunView, known: EndEvent | None) -> Plan:
    """Plan a RUNNING job: its attempt before may be final, or it has ended without Slurm's notice.

    slurmctld was killed before it had saved the end, and restored the job without a process
    (measured). A requeue repairs this; a run that had completed then ends as success at once.
    """
    job, history = view.seen.job, view.history
    present = history.end_of(job.restarts)
    if present is not None and present.at < (job.start_time or 0):
        present = None  # an attempt of the same number, after one that slurmctld lost
    if present is not None or reports_end(view.seen.comment_record, job):
        return _stale_running(view, present)
    if (host := lost_batch_host(view.seen)) is not None:
        return _without_batch_host(view, host)
    if known is not None and not known.action.restarts:
        stopped = _stop(view, known)
        if stopped.after:
            return stopped
    return Plan(events=_record_started(view))


def _record_started(view: RunView) -> tuple[StartedEvent, ...]:
    job, started = view.seen.job, view.history.started
    if job.submit_time is None or not job.nodes:
        return ()
    if started is not None and (started.restarts, started.submit_time) == (
        job.restarts,
        job.submit_time,
    ):
        return ()
    return (
        StartedEvent(
            at=view.seen.time,
            restarts=job.restarts,
            submit_time=job.submit_time,
            nodes=job.nodes,
        ),
    )


def _stale_running(view: RunView, present: EndEvent | None) -> Plan:
    if view.seen.job.submit_time is None:
        return Plan()
    if view.end_lost:
        return _judge_stale_running(view, present)
    attempt = present.attempt if present is not None else view.seen.comment_record.attempt
    return _wait_to_be_sure(view, attempt) or _judge_stale_running(view, present)


def _wait_to_be_sure(view: RunView, attempt: int | None) -> Plan | None:
    """Plan to look again at an attempt that seems to have no program any more; None: it has none.

    A supervisor that lives has ended it, or has begun the next attempt, by then.
    """
    seen, job = view.seen, view.seen.job
    if job.submit_time is None:
        return Plan()
    key = EndKey(job.submit_time, attempt)
    first = view.history.stale_running
    if first is None or first.key != key or first.at < (job.start_time or 0):
        event = StaleRunningEvent(at=seen.time, submit_time=job.submit_time, attempt=attempt)
        return Plan(events=(event,), look_again=seen.now + view.stale_running_after)
    if seen.now - first.at < view.stale_running_after:
        return Plan(look_again=first.at + view.stale_running_after)
    return None


def lost_batch_host(seen: Observation) -> NodeState | None:
    """Return the batch host if Slurm has lost it and the job goes on without it (--no-kill).

    No script runs then that could end, so that no hook is ever run for the attempt (measured).
    """
    job = seen.job
    if not job.running or not job.nodes:
        return None
    host = next((node for node in seen.nodes if node.name == job.batch_host), None)
    is_lost = host is not None and host.state == "DOWN" and host.name not in job.nodes
    return host if is_lost else None


def _without_batch_host(view: RunView, host: NodeState) -> Plan:
    """Plan a job whose batch host is lost: the attempt has ended as one with a failed node."""
    job = view.seen.job
    if (wait := _wait_to_be_sure(view, view.seen.comment_record.attempt)) is not None:
        return wait
    end = replace(
        view.end,
        state=JobState.NODE_FAIL,
        lost=True,
        nodes=(host.name, *job.nodes),
        down_nodes=(host, *view.end.down_nodes),
    )
    return _end_judged(view, _judge(replace(view, end=end), job.restarts))


def _judge_stale_running(view: RunView, present: EndEvent | None) -> Plan:
    """Plan a RUNNING job whose attempt has certainly ended; its end is judged if it is not yet."""
    if present is not None:
        return _end_stale_running(view, present)
    return _end_judged(view, _judge_lost(view, view.seen.job.restarts))


def _end_judged(view: RunView, judgement: Judgement) -> Plan:
    """Plan the requeue or the end of a RUNNING job whose attempt has just been judged."""
    history = replay(judgement.events, view.history)
    present = history.end_of(view.seen.job.restarts)
    if present is None or present.observed:
        return Plan(events=judgement.events)
    step = _end_stale_running(replace(view, history=history), present)
    return replace(step, events=(*judgement.events, *step.events))


def _end_stale_running(view: RunView, present: EndEvent) -> Plan:
    if present.observed:
        return Plan()
    if present.action.restarts or present.category is Category.COMPLETED:
        return Plan(before=(Verb.REQUEUE,), look_again=view.seen.now + POLL)
    return Plan(after=(Verb.CANCEL,))
