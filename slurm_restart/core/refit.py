"""Fit a pending job to today's nodes: size, exclusions and begin time, never the verdict."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from slurm_restart.core.category import TREATMENTS, Nodes
from slurm_restart.core.digest import Digest
from slurm_restart.core.history import (
    EndEvent,
    Event,
    Exclusion,
    History,
    NoteEvent,
    ReadmitEvent,
    WroteEvent,
    fold,
)
from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.operations import (
    SAFE_START,
    Operation,
    Shape,
    Verb,
    merge_admin_comment,
    size_is_ours,
    start_is_ours,
    update,
)
from slurm_restart.core.policy import Policy, SitePolicy
from slurm_restart.core.pool import Fit, fit
from slurm_restart.core.termination import Blame
from slurm_restart.core.verdict import (
    exclude_events,
    exclusion_list,
    own_exclusions,
    policy_within,
    pool_of,
    readmit_events,
)

_BAD_CONSTRAINTS = "BadConstraints"
_PROLOG_HELD = "launch_failed_requeued_held"
_LET_GO = "a person released it: not held again"


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A managed job that waits for its next attempt. Times are epoch seconds."""

    job: Job
    digest: Digest
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
class Refit:
    """What is to be changed; nothing where `shape` and the verbs are empty."""

    events: tuple[Event, ...] = ()
    shape: Shape = field(default_factory=Shape)
    verbs: tuple[Verb, ...] = ()
    """HOLD, RELEASE or CANCEL."""
    start: str | None = None
    """The begin time as Slurm is to be told it."""

    def operations(self, hostlist: str) -> tuple[Operation, ...]:
        """What Slurm is asked; `hostlist` is `shape.exc_nodes` folded."""
        return (
            *update(self.shape, hostlist, start=self.start),
            *(Operation(verb=verb) for verb in self.verbs),
        )


def refit(it: Pending) -> Refit:
    """What a pending job needs today. Total; nothing for a job that people have taken over."""
    last = it.last
    if last is None or not last.action.restarts:
        return Refit()
    if _held_by_people(it):
        return Refit(events=_noted(it, f"held by a person ({it.job.reason}): left alone"))
    policy = policy_within(it.digest, it.site, it.history, it.job)
    changes = _exclusion_changes(it, last, policy)
    exclusions = fold(changes, it.history).excluded(it.now)
    pool = pool_of(it.job, it.history, exclusions, it.nodes, it.reserved)
    due = last.start_at or last.at
    # What a person has put off does not wait for nodes before its time.
    begin = 0 if start_is_ours(it.job, it.history.wrote) else it.job.eligible_time or 0
    waited = max(0, it.now - max(due, begin))
    size = fit(policy, pool, waited=waited)
    if size.num_nodes is None and waited > policy.give_up_after:
        return _give_up(it, size, changes)
    return _changed(it, size, exclusions=exclusions, changes=changes, due=due)


def _held_by_people(it: Pending) -> bool:
    ours = it.history.wrote.held or it.job.reason in (_BAD_CONSTRAINTS, _PROLOG_HELD)
    return it.job.held and not ours


def _noted(it: Pending, text: str) -> tuple[NoteEvent, ...]:
    """A note, once."""
    seen = any(note.text == text for note in it.history.notes)
    return () if seen else (NoteEvent(at=it.now, text=text),)


def _exclusion_changes(it: Pending, last: EndEvent, policy: Policy) -> tuple[Event, ...]:
    readmitted = readmit_events(it.job, it.history, it.now)
    found = exclude_events(
        _found_dead(it, last),
        now=it.now,
        until=it.now + policy.exclude_for,
        submit_time=last.submit_time,
    )
    changes: tuple[Event, ...] = (*readmitted, *found)
    standing = fold(changes, it.history).excluded(it.now)
    if it.job.reason == _BAD_CONSTRAINTS and standing:
        why = "Slurm cannot schedule the job without it"
        changes = (*changes, ReadmitEvent(at=it.now, node=standing[0].node, why=why))
    return changes


def _found_dead(it: Pending, last: EndEvent) -> Iterable[Blame]:
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


def _give_up(it: Pending, size: Fit, changes: tuple[Event, ...]) -> Refit:
    told = f"csx-restart: gives up waiting: {size.reason}"
    return Refit(
        events=(*changes, NoteEvent(at=it.now, text=told)),
        shape=Shape(admin_comment=merge_admin_comment(it.job.admin_comment, told)),
        verbs=(Verb.CANCEL,),
    )


def _changed(
    it: Pending,
    size: Fit,
    *,
    exclusions: tuple[Exclusion, ...],
    changes: tuple[Event, ...],
    due: int,
) -> Refit:
    job, wrote = it.job, it.history.wrote
    num_nodes = None
    if size.num_nodes is not None and size.num_nodes != job.num_nodes:
        if size_is_ours(job.num_nodes, wrote, it.digest.num_nodes):
            num_nodes = size.num_nodes
        else:
            changes = (*changes, *_noted(it, f"a person set {job.num_nodes} nodes: left alone"))
    exc_nodes = exclusion_list(job, it.history, exclusions)
    waits = size.num_nodes is None
    verbs: tuple[Verb, ...] = ()
    let_go: tuple[Event, ...] = ()
    if waits and not job.held:
        let_go = _let_go(it)
        verbs = () if let_go or _was_let_go(it) else (Verb.HOLD,)
    elif not waits and job.held and (job.reason != _BAD_CONSTRAINTS or exc_nodes is not None):
        verbs = (Verb.RELEASE,)
    start, start_time = (None, None) if waits else _start(it, due, release=bool(verbs))
    return Refit(
        events=(*changes, *let_go),
        shape=Shape(
            exc_nodes=exc_nodes,
            own_nodes=own_exclusions(job, it.history, exclusions),
            num_nodes=num_nodes,
            start_time=start_time,
            admin_comment=_told_wait(it, size) if Verb.HOLD in verbs else None,
        ),
        verbs=verbs,
        start=start,
    )


def _let_go(it: Pending) -> tuple[Event, ...]:
    """What is put on record of a hold of ours that a person has released."""
    if not it.history.wrote.held:
        return ()
    return (NoteEvent(at=it.now, text=_LET_GO), WroteEvent(at=it.now, held=False))


def _was_let_go(it: Pending) -> bool:
    """Whether a person released this wait's hold, so that a hold that stands now is people's."""
    since = it.last.at if it.last is not None else 0
    return any(note.text == _LET_GO and note.at >= since for note in it.history.notes)


def _told_wait(it: Pending, size: Fit) -> str:
    return merge_admin_comment(it.job.admin_comment, f"csx-restart: held: {size.reason}")


def _start(it: Pending, due: int, *, release: bool) -> tuple[str | None, int | None]:
    """The begin time to set, as Slurm's text and as a time; None: it stands right.

    Args:
        it: the job.
        due: when it is to start.
        release: it is released as well, so what was set before has started nothing.
    """
    job, wrote = it.job, it.history.wrote
    begin = job.eligible_time or 0
    if not start_is_ours(job, wrote):
        return None, None
    if it.now < due:
        right = abs(begin - due) <= SAFE_START and not release
        return (None, None) if right else (f"now+{due - it.now}", due)
    if not it.startable:
        return None, None
    # A begin time that passes by itself wakes only the main scheduling loop (up to a minute):
    # the update wakes the scheduler at once. Once is enough.
    woken = wrote.start_time is not None and wrote.at >= due and wrote.start_time <= wrote.at
    return (None, None) if woken and begin <= it.now and not release else ("now", it.now)
