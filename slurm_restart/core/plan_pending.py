"""Plan the adjustment of a pending job: size, exclusions and begin time, not the decision."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from slurm_restart.core.attribution import Blame
from slurm_restart.core.category import Nodes
from slurm_restart.core.exclusions import (
    available_pool,
    exclude_events,
    exclusion_list,
    own_exclusions,
    readmit_events,
)
from slurm_restart.core.history import Exclusion, History, replay
from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import AppliedEvent, EndEvent, Event, NoteEvent, ReadmitEvent
from slurm_restart.core.node_pool import SizeChoice, choose_size
from slurm_restart.core.restart_limits import Policy, SitePolicy, granted_policy
from slurm_restart.core.slurm_operations import (
    SAFE_START,
    JobUpdate,
    Operation,
    Verb,
    merge_admin_comment,
    size_is_ours,
    start_is_ours,
    update_operations,
)

_BAD_CONSTRAINTS = "BadConstraints"
_PROLOG_HELD = "launch_failed_requeued_held"
_RELEASED = "a person released it: not held again"


@dataclass(frozen=True, kw_only=True)
class PendingCase:
    """A managed job that waits for its next attempt. Times are epoch seconds."""

    job: Job
    comment_record: CommentRecord
    history: History
    nodes: tuple[NodeState, ...]
    reserved: tuple[str, ...] | None
    site: SitePolicy
    now: int
    startable: bool
    """Whether a full second has passed since the last attempt was killed."""

    @property
    def last(self) -> EndEvent | None:
        """The end after which the job waits."""
        return self.history.ends[-1] if self.history.ends else None


@dataclass(frozen=True, kw_only=True)
class PendingPlan:
    """Changes to a pending job; none where `job_update` and `verbs` are empty."""

    events: tuple[Event, ...] = ()
    job_update: JobUpdate = field(default_factory=JobUpdate)
    verbs: tuple[Verb, ...] = ()
    """HOLD, RELEASE or CANCEL."""
    start: str | None = None
    """The begin time in Slurm's form: `now` or `now+SECONDS`."""

    def operations(self, hostlist: str) -> tuple[Operation, ...]:
        """Return the requests to Slurm; `hostlist` is `job_update.exc_nodes` as a hostlist."""
        return (
            *update_operations(self.job_update, hostlist, start=self.start),
            *(Operation(verb=verb) for verb in self.verbs),
        )


def plan_pending(case: PendingCase) -> PendingPlan:
    """Plan the changes that a pending job needs now; none for a job that a person holds.

    There is a plan for every case. It is idempotent: once it is applied, a second plan is empty,
    except that each plan of a BadConstraints job ends one exclusion.
    """
    last = case.last
    if last is None or not last.action.restarts:
        return PendingPlan()
    if _held_by_people(case):
        return PendingPlan(
            events=_note_once(case, f"held by a person ({case.job.reason}): left alone")
        )
    policy = granted_policy(case.comment_record, case.site, case.history, case.job)
    changes = _exclusion_changes(case, last, policy)
    exclusions = replay(changes, case.history).excluded(case.now)
    pool = available_pool(case.job, case.history, exclusions, case.nodes, case.reserved)
    due = last.start_at or last.at
    # A job with a begin time that a person has set does not wait for nodes before that time.
    begin = 0 if start_is_ours(case.job, case.history.applied) else case.job.eligible_time or 0
    waited = max(0, case.now - max(due, begin))
    # Slurm could not start the job before its begin time, a person's or its own.
    ready = max(0, case.now - max(due, case.job.eligible_time or 0))
    size = choose_size(policy, pool, waited=ready, now=case.now)
    if size.num_nodes is None and waited > policy.give_up_after:
        return _give_up(case, size, changes)
    return _adjust(case, size, exclusions=exclusions, changes=changes, due=due)


def _held_by_people(case: PendingCase) -> bool:
    """Return whether a hold stands that neither this plugin nor Slurm itself has set."""
    ours = case.history.applied.held or case.job.reason in (_BAD_CONSTRAINTS, _PROLOG_HELD)
    return case.job.held and not ours


def _note_once(case: PendingCase, text: str) -> tuple[NoteEvent, ...]:
    """Return a note event unless the same text is already in the journal."""
    seen = any(note.text == text for note in case.history.notes)
    return () if seen else (NoteEvent(at=case.now, text=text),)


def _exclusion_changes(case: PendingCase, last: EndEvent, policy: Policy) -> tuple[Event, ...]:
    readmitted = readmit_events(case.job, case.history, case.now)
    newly_down = exclude_events(
        _blame_nodes_found_down(case, last),
        now=case.now,
        until=case.now + policy.exclude_for,
        submit_time=last.submit_time,
    )
    changes: tuple[Event, ...] = (*readmitted, *newly_down)
    in_force = replay(changes, case.history).excluded(case.now)
    if case.job.reason == _BAD_CONSTRAINTS and in_force:
        why = "Slurm cannot schedule the job without it"
        changes = (*changes, ReadmitEvent(at=case.now, node=in_force[0].node, why=why))
    return changes


def _blame_nodes_found_down(case: PendingCase, last: EndEvent) -> Iterable[Blame]:
    """Return the nodes of the last attempt that Slurm has found down after its end."""
    if last.category.nodes is Nodes.NONE:
        return
    known = {exclusion.node for exclusion in case.history.exclusions}
    readmitted_since = case.history.readmitted_since(last.at)
    for node in case.nodes:
        if node.down and node.name in last.nodes and node.name not in known | readmitted_since:
            yield Blame(
                node=node.name, evidence=f"Slurm, after the end: {node.state} {node.reason}"
            )


def _give_up(case: PendingCase, size: SizeChoice, changes: tuple[Event, ...]) -> PendingPlan:
    text = f"csx-restart: gives up waiting: {size.reason}"
    return PendingPlan(
        events=(*changes, NoteEvent(at=case.now, text=text)),
        job_update=JobUpdate(admin_comment=merge_admin_comment(case.job.admin_comment, text)),
        verbs=(Verb.CANCEL,),
    )


def _adjust(
    case: PendingCase,
    size: SizeChoice,
    *,
    exclusions: tuple[Exclusion, ...],
    changes: tuple[Event, ...],
    due: int,
) -> PendingPlan:
    job, applied = case.job, case.history.applied
    num_nodes = None
    if size.num_nodes is not None and size.num_nodes != job.num_nodes:
        if size_is_ours(job.num_nodes, applied, case.comment_record.num_nodes):
            num_nodes = size.num_nodes
        else:
            changes = (
                *changes,
                *_note_once(case, f"a person set {job.num_nodes} nodes: left alone"),
            )
    exc_nodes = exclusion_list(job, case.history, exclusions)
    waits = size.num_nodes is None
    verbs: tuple[Verb, ...] = ()
    released: tuple[Event, ...] = ()
    if waits and not job.held:
        released = _record_release(case)
        verbs = () if released or _was_released(case) else (Verb.HOLD,)
    elif not waits and job.held and (job.reason != _BAD_CONSTRAINTS or exc_nodes is not None):
        verbs = (Verb.RELEASE,)
    start, start_time = (None, None) if waits else _start(case, due, release=bool(verbs))
    return PendingPlan(
        events=(*changes, *released),
        job_update=JobUpdate(
            exc_nodes=exc_nodes,
            own_nodes=own_exclusions(job, case.history, exclusions),
            num_nodes=num_nodes,
            start_time=start_time,
            admin_comment=_hold_comment(case, size) if Verb.HOLD in verbs else None,
        ),
        verbs=verbs,
        start=start,
    )


def _record_release(case: PendingCase) -> tuple[Event, ...]:
    """Return the journal events for this plugin's hold that a person has released."""
    if not case.history.applied.held:
        return ()
    return (NoteEvent(at=case.now, text=_RELEASED), AppliedEvent(at=case.now, held=False))


def _was_released(case: PendingCase) -> bool:
    """Return whether a person has released the job since its last end; a hold is then theirs."""
    since = case.last.at if case.last is not None else 0
    return any(note.text == _RELEASED and note.at >= since for note in case.history.notes)


def _hold_comment(case: PendingCase, size: SizeChoice) -> str:
    """Return the AdminComment that says why this plugin holds the job."""
    return merge_admin_comment(case.job.admin_comment, f"csx-restart: held: {size.reason}")


def _start(case: PendingCase, due: int, *, release: bool) -> tuple[str | None, int | None]:
    """Return the begin time to set, in Slurm's form and in epoch seconds; None: no change.

    Args:
        case: the pending job.
        due: when the next attempt is to start, in epoch seconds.
        release: whether the job is released too: while it was held, no begin time could start it.
    """
    job, applied = case.job, case.history.applied
    begin = job.eligible_time or 0
    if not start_is_ours(job, applied):
        return None, None
    if case.now < due:
        unchanged = abs(begin - due) <= SAFE_START and not release
        return (None, None) if unchanged else (f"now+{due - case.now}", due)
    if not case.startable:
        return None, None
    # A begin time that passes by itself is noticed by the main scheduling loop only (up to a
    # minute): an update starts the scheduler at once. One such update is enough.
    # A begin time after `now` has not passed, even if it had when the last value was applied: the
    # clock was set back in between.
    started = (
        applied.start_time is not None
        and applied.at >= due
        and applied.start_time <= min(applied.at, case.now)
    )
    return (None, None) if started and begin <= case.now and not release else ("now", case.now)
