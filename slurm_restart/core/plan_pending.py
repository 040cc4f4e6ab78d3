"""Fit a pending job to today's nodes: size, exclusions and begin time, never the verdict."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from slurm_restart.core.attribution import Blame
from slurm_restart.core.category import TREATMENTS, Nodes
from slurm_restart.core.history import (
    AppliedEvent,
    EndEvent,
    Event,
    Exclusion,
    History,
    NoteEvent,
    ReadmitEvent,
    replay,
)
from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.node_pool import SizeChoice, choose_size
from slurm_restart.core.operations import (
    SAFE_START,
    JobUpdate,
    Operation,
    Verb,
    merge_admin_comment,
    size_is_ours,
    start_is_ours,
    update_operations,
)
from slurm_restart.core.plan_end import (
    available_pool,
    exclude_events,
    exclusion_list,
    granted_policy,
    own_exclusions,
    readmit_events,
)
from slurm_restart.core.policy import Policy, SitePolicy

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
    """A full second has passed since the last attempt was killed."""

    @property
    def last(self) -> EndEvent | None:
        """The end that led to this wait."""
        return self.history.ends[-1] if self.history.ends else None


@dataclass(frozen=True, kw_only=True)
class PendingPlan:
    """What is to be changed; nothing where `shape` and the verbs are empty."""

    events: tuple[Event, ...] = ()
    job_update: JobUpdate = field(default_factory=JobUpdate)
    verbs: tuple[Verb, ...] = ()
    """HOLD, RELEASE or CANCEL."""
    start: str | None = None
    """The begin time as Slurm is to be told it."""

    def operations(self, hostlist: str) -> tuple[Operation, ...]:
        """What Slurm is asked; `hostlist` is `shape.exc_nodes` folded."""
        return (
            *update_operations(self.job_update, hostlist, start=self.start),
            *(Operation(verb=verb) for verb in self.verbs),
        )


def plan_pending(it: PendingCase) -> PendingPlan:
    """What a pending job needs today. Total; nothing for a job that people have taken over."""
    last = it.last
    if last is None or not last.action.restarts:
        return PendingPlan()
    if _held_by_people(it):
        return PendingPlan(events=_noted(it, f"held by a person ({it.job.reason}): left alone"))
    policy = granted_policy(it.comment_record, it.site, it.history, it.job)
    changes = _exclusion_changes(it, last, policy)
    exclusions = replay(changes, it.history).excluded(it.now)
    pool = available_pool(it.job, it.history, exclusions, it.nodes, it.reserved)
    due = last.start_at or last.at
    # What a person has put off does not wait for nodes before its time.
    begin = 0 if start_is_ours(it.job, it.history.applied) else it.job.eligible_time or 0
    waited = max(0, it.now - max(due, begin))
    size = choose_size(policy, pool, waited=waited)
    if size.num_nodes is None and waited > policy.give_up_after:
        return _give_up(it, size, changes)
    return _changed(it, size, exclusions=exclusions, changes=changes, due=due)


def _held_by_people(it: PendingCase) -> bool:
    ours = it.history.applied.held or it.job.reason in (_BAD_CONSTRAINTS, _PROLOG_HELD)
    return it.job.held and not ours


def _noted(it: PendingCase, text: str) -> tuple[NoteEvent, ...]:
    """A note, once."""
    seen = any(note.text == text for note in it.history.notes)
    return () if seen else (NoteEvent(at=it.now, text=text),)


def _exclusion_changes(it: PendingCase, last: EndEvent, policy: Policy) -> tuple[Event, ...]:
    readmitted = readmit_events(it.job, it.history, it.now)
    found = exclude_events(
        _found_dead(it, last),
        now=it.now,
        until=it.now + policy.exclude_for,
        submit_time=last.submit_time,
    )
    changes: tuple[Event, ...] = (*readmitted, *found)
    standing = replay(changes, it.history).excluded(it.now)
    if it.job.reason == _BAD_CONSTRAINTS and standing:
        why = "Slurm cannot schedule the job without it"
        changes = (*changes, ReadmitEvent(at=it.now, node=standing[0].node, why=why))
    return changes


def _found_dead(it: PendingCase, last: EndEvent) -> Iterable[Blame]:
    """Nodes of the last attempt that Slurm has found dead after its end."""
    if TREATMENTS[last.category].nodes is Nodes.NONE:
        return
    known = {one.node for one in it.history.exclusions}
    readmitted_since = it.history.readmitted_since(last.at)
    for node in it.nodes:
        if node.down and node.name in last.nodes and node.name not in known | readmitted_since:
            yield Blame(
                node=node.name, evidence=f"Slurm, after the end: {node.state} {node.reason}"
            )


def _give_up(it: PendingCase, size: SizeChoice, changes: tuple[Event, ...]) -> PendingPlan:
    told = f"csx-restart: gives up waiting: {size.reason}"
    return PendingPlan(
        events=(*changes, NoteEvent(at=it.now, text=told)),
        job_update=JobUpdate(admin_comment=merge_admin_comment(it.job.admin_comment, told)),
        verbs=(Verb.CANCEL,),
    )


def _changed(
    it: PendingCase,
    size: SizeChoice,
    *,
    exclusions: tuple[Exclusion, ...],
    changes: tuple[Event, ...],
    due: int,
) -> PendingPlan:
    job, applied = it.job, it.history.applied
    num_nodes = None
    if size.num_nodes is not None and size.num_nodes != job.num_nodes:
        if size_is_ours(job.num_nodes, applied, it.comment_record.num_nodes):
            num_nodes = size.num_nodes
        else:
            changes = (*changes, *_noted(it, f"a person set {job.num_nodes} nodes: left alone"))
    exc_nodes = exclusion_list(job, it.history, exclusions)
    waits = size.num_nodes is None
    verbs: tuple[Verb, ...] = ()
    let_go: tuple[Event, ...] = ()
    if waits and not job.held:
        let_go = _record_release(it)
        verbs = () if let_go or _was_released(it) else (Verb.HOLD,)
    elif not waits and job.held and (job.reason != _BAD_CONSTRAINTS or exc_nodes is not None):
        verbs = (Verb.RELEASE,)
    start, start_time = (None, None) if waits else _start(it, due, release=bool(verbs))
    return PendingPlan(
        events=(*changes, *let_go),
        job_update=JobUpdate(
            exc_nodes=exc_nodes,
            own_nodes=own_exclusions(job, it.history, exclusions),
            num_nodes=num_nodes,
            start_time=start_time,
            admin_comment=_wait_comment(it, size) if Verb.HOLD in verbs else None,
        ),
        verbs=verbs,
        start=start,
    )


def _record_release(it: PendingCase) -> tuple[Event, ...]:
    """What is put on record of a hold of ours that a person has released."""
    if not it.history.applied.held:
        return ()
    return (NoteEvent(at=it.now, text=_RELEASED), AppliedEvent(at=it.now, held=False))


def _was_released(it: PendingCase) -> bool:
    """Whether a person released this wait's hold, so that a hold that stands now is people's."""
    since = it.last.at if it.last is not None else 0
    return any(note.text == _RELEASED and note.at >= since for note in it.history.notes)


def _wait_comment(it: PendingCase, size: SizeChoice) -> str:
    return merge_admin_comment(it.job.admin_comment, f"csx-restart: held: {size.reason}")


def _start(it: PendingCase, due: int, *, release: bool) -> tuple[str | None, int | None]:
    """The begin time to set, as Slurm's text and as a time; None: it stands right.

    Args:
        it: the job.
        due: when it is to start.
        release: it is released as well, so what was set before has started nothing.
    """
    job, applied = it.job, it.history.applied
    begin = job.eligible_time or 0
    if not start_is_ours(job, applied):
        return None, None
    if it.now < due:
        right = abs(begin - due) <= SAFE_START and not release
        return (None, None) if right else (f"now+{due - it.now}", due)
    if not it.startable:
        return None, None
    # A begin time that passes by itself wakes only the main scheduling loop (up to a minute):
    # the update wakes the scheduler at once. Once is enough.
    woken = (
        applied.start_time is not None and applied.at >= due and applied.start_time <= applied.at
    )
    return (None, None) if woken and begin <= it.now and not release else ("now", it.now)
