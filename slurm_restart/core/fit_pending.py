"""Fit a job that waits for an attempt to the nodes of now: exclusions, size and begin time."""

from collections.abc import Iterable
from dataclasses import field, replace

from slurm_restart.core.attribution import Blame
from slurm_restart.core.category import Nodes
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.compile_sizes import smallest_compilable
from slurm_restart.core.exclusions import (
    DOWN_EVIDENCE,
    NO_OTHER,
    exclude_events,
    exclusion_list,
    is_applied_since,
    own_exclusions,
    readmit_events,
    user_excluded,
)
from slurm_restart.core.fixed_size import judge_fixed_size
from slurm_restart.core.history import Exclusion, History, replay
from slurm_restart.core.job import Job, NodeState, PartitionState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    EndEvent,
    Event,
    ExcludeEvent,
    NoteEvent,
    ReadmitEvent,
)
from slurm_restart.core.node_pool import (
    NodePool,
    SizeChoice,
    build_pool,
    choose_size,
    compilable,
    count_existing,
    within_limit,
)
from slurm_restart.core.node_search import Avoidance
from slurm_restart.core.restart_limits import Policy, SitePolicy, granted_policy
from slurm_restart.core.search_history import search_nodes
from slurm_restart.core.search_room import Room
from slurm_restart.core.slurm_operations import (
    SAFE_START,
    JobUpdate,
    Operation,
    Verb,
    format_admin_comment,
    is_judged_later,
    merge_admin_comment,
    size_is_ours,
    start_is_ours,
    update_operations,
)
from slurm_restart.frozen import frozen

BAD_CONSTRAINTS = "BadConstraints"
PROLOG_HELD = "launch_failed_requeued_held"
WAIT = 3600
"""Seconds by which the begin time of a job without nodes is set ahead. If nobody renews it, Slurm
schedules the job as it would have without this plugin."""
RETRY_RELEASE = 1800
"""Seconds after which a job that Slurm holds for BadConstraints, though it fits, is released."""
RENEW = WAIT // 2
"""Seconds left of a wait at which it is renewed."""


@frozen
class Observation:
    """Everything about a job and its cluster that a plan depends on. Times are epoch seconds."""

    job: Job
    comment_record: CommentRecord
    nodes: tuple[NodeState, ...]
    reserved: tuple[str, ...] | None
    cluster: ClusterFacts
    site: SitePolicy
    now: float
    partitions: tuple[PartitionState, ...] = ()
    margin: float = 1.1
    """Seconds between PENDING and a start: slurmd refuses a start in the second of the kill."""
    node_limit: int | None = None
    """How many nodes the limits of association and QOS leave; None: no limit, or not asked for."""
    run_exclusions: tuple[Exclusion, ...] = ()
    """Exclusions in force of the run's earlier phases, which are jobs of their own."""

    @property
    def time(self) -> int:
        """The time in whole seconds, for events."""
        return int(self.now)

    @property
    def names(self) -> frozenset[str]:
        """Names of all nodes."""
        return frozenset(node.name for node in self.nodes)


@frozen
class Plan:
    """What to write to the journal, what to ask of Slurm then, and when to look again."""

    events: tuple[Event, ...] = ()
    before: tuple[Verb, ...] = ()
    """Requests before the updates: REQUEUE."""
    job_update: JobUpdate = field(default_factory=JobUpdate)
    start: str | None = None
    """The begin time in Slurm's form: `now` or `now+SECONDS`."""
    after: tuple[Verb, ...] = ()
    """Requests after the updates: RELEASE or CANCEL."""
    look_again: float | None = None
    """Epoch seconds; None: only an event of Slurm's or of the nodes can change anything."""

    def operations(self, hostlist: str) -> tuple[Operation, ...]:
        """Return the requests to Slurm; `hostlist` is `job_update.exc_nodes` as a hostlist."""
        return (
            *(Operation(verb=verb) for verb in self.before),
            *update_operations(self.job_update, hostlist, start=self.start),
            *(Operation(verb=verb) for verb in self.after),
        )


@frozen
class Fit:
    """Exclusions and size for the next attempt."""

    policy: Policy
    events: tuple[Event, ...]
    history: History
    """With these events."""
    own: tuple[str, ...]
    """Nodes that this plugin excludes."""
    size: SizeChoice
    avoidance: Avoidance | None = None
    """Nodes among `own` that are left out as a guess."""

    @property
    def new_size(self) -> int | None:
        """How many nodes to ask for; None: the job waits, or its size is Slurm's to choose."""
        return None if self.policy.fixed_size else self.size.num_nodes


def fit(seen: Observation, history: History, last: EndEvent | None, *, waited: float) -> Fit:
    """Return exclusions and size for the next attempt of a job.

    Args:
        seen: the job and its cluster.
        history: the run's journal.
        last: the end before the attempt; None: no attempt has ended.
        waited: seconds that the job has been ready to start.
    """
    policy = granted_policy(seen.comment_record, seen.site, history, seen.job)
    events = _exclusion_changes(seen, history, last, policy)
    changed = replay(events, history)
    names = {exclusion.node for exclusion in changed.excluded(seen.now)}
    seen = _with_own_nodes_idle(seen, last)
    is_patient = waited < policy.shrink_after
    avoidance = _avoidance(seen, changed, last, policy, names, is_patient=is_patient)
    names.update(avoidance.nodes if avoidance is not None else ())
    events = (*events, *_avoidance_note(seen, history, last, avoidance))
    own = own_exclusions(seen.job, changed, names, seen.names)
    pool = _pool(seen, changed, own)
    if policy.fixed_size:
        size = judge_fixed_size(seen.job, seen.nodes, pool, last)
    else:
        # What a test says does not depend on its size: it waits for no busy node.
        is_test = avoidance is not None and avoidance.is_tested_on(pool.idle)
        patience = 0 if is_test else None
        size = choose_size(policy, pool, waited=int(waited), now=seen.time, patience=patience)
    written = not policy.fixed_size and size.num_nodes != seen.job.num_nodes
    if history.intended.sizes or written:
        since_due = max(0, seen.time - due_time(last)) if last is not None else 0
        size = within_limit(policy, size, limit=seen.node_limit, waited=since_due)
    if not policy.fixed_size:
        size = compilable(policy, size)
    return Fit(
        policy=policy, events=events, history=changed, own=own, size=size, avoidance=avoidance
    )


def _with_own_nodes_idle(seen: Observation, last: EndEvent | None) -> Observation:
    """Return what there is once the attempt that has ended has left its nodes.

    Until then Slurm shows them as busy, and no job is started there.
    """
    if last is None or not (seen.job.running or seen.job.completing):
        return seen
    own = set(last.nodes)
    nodes = tuple(
        replace(node, state="IDLE", flags=node.flags - {"COMPLETING"})
        if node.name in own and node.healthy
        else node
        for node in seen.nodes
    )
    return replace(seen, nodes=nodes)


def _avoidance(
    seen: Observation,
    history: History,
    last: EndEvent | None,
    policy: Policy,
    excluded: set[str],
    *,
    is_patient: bool,
) -> Avoidance | None:
    """Return a guess which nodes make attempts fail; None while Slurm lacks nodes for it."""
    if last is None or seen.job.reason == BAD_CONSTRAINTS:
        return None
    pool = _pool(seen, history, excluded)
    usable = pool.usable - history.readmitted_since(last.at)
    wanted = len(last.nodes) if policy.fixed_size else policy.num_nodes
    least = smallest_compilable(policy.min_nodes, policy.num_nodes, policy.refused_sizes)
    room = Room(
        usable=usable,
        wanted=wanted,
        least=wanted if policy.fixed_size else least,
        busy=pool.busy & usable,
    )
    search = search_nodes(history, policy)
    return search.avoid(room, last_chance=last.last_chance, is_patient=is_patient)


def _avoidance_note(
    seen: Observation, history: History, last: EndEvent | None, avoidance: Avoidance | None
) -> tuple[NoteEvent, ...]:
    """Note each step of a search, for `explain`; a single failure is none."""
    if last is None or avoidance is None or avoidance.mark is None:
        return ()
    if history.noted(avoidance.reason, since=last.at):
        return ()
    return (NoteEvent(at=seen.time, text=avoidance.reason),)


def _pool(seen: Observation, history: History, own: Iterable[str]) -> NodePool:
    barred = {*user_excluded(seen.job, history), *own}
    return build_pool(seen.job, seen.nodes, barred, seen.reserved, seen.partitions)


def _exclusion_changes(
    seen: Observation, history: History, last: EndEvent | None, policy: Policy
) -> tuple[Event, ...]:
    changes: tuple[Event, ...] = (
        *readmit_events(seen.job, history, seen.time, boot_time=seen.cluster.boot_time),
        *_exclude_as_earlier_phases(seen, history),
        *_exclude_found_down(seen, history, last, policy),
    )
    in_force = replay(changes, history).excluded(seen.now)
    shown = [exclusion for exclusion in in_force if exclusion.node in seen.job.exc_nodes]
    if seen.job.reason == BAD_CONSTRAINTS and shown:
        why = "Slurm cannot schedule the job without it"
        changes = (*changes, ReadmitEvent(at=seen.time, node=shown[0].node, why=why))
    return changes or _readmit_returned(seen, history, policy)


def _readmit_returned(
    seen: Observation, history: History, policy: Policy
) -> tuple[ReadmitEvent, ...]:
    """Readmit the oldest node that was down and is not any more, if too few others exist.

    To wait for another one would be in vain. A node that a log or a search names stays excluded.
    """
    in_force = history.excluded(seen.now)
    barred = {*user_excluded(seen.job, history), *(exclusion.node for exclusion in in_force)}
    exist = count_existing(seen.job, seen.nodes, barred, seen.reserved, seen.partitions)
    if not in_force or exist >= policy.min_nodes:
        return ()
    healthy = {node.name for node in seen.nodes if node.healthy}
    returned = [
        exclusion
        for exclusion in in_force
        if exclusion.node in healthy and exclusion.evidence.startswith(DOWN_EVIDENCE)
    ]
    if not returned:
        return ()
    oldest = min(returned, key=lambda exclusion: exclusion.since)
    return (ReadmitEvent(at=seen.time, node=oldest.node, why=NO_OTHER),)


def _exclude_as_earlier_phases(seen: Observation, history: History) -> tuple[ExcludeEvent, ...]:
    known = {exclusion.node for exclusion in history.exclusions} | history.readmitted_since(0)
    return tuple(
        ExcludeEvent(
            at=seen.time,
            node=exclusion.node,
            until=exclusion.until,
            evidence=exclusion.evidence,
            submit_time=0,
        )
        for exclusion in seen.run_exclusions
        if exclusion.node not in known
    )


def _exclude_found_down(
    seen: Observation, history: History, last: EndEvent | None, policy: Policy
) -> tuple[ExcludeEvent, ...]:
    """Exclude the nodes of the last attempt that Slurm has found down after its end."""
    if last is None or last.category.nodes is Nodes.NONE:
        return ()
    known = {exclusion.node for exclusion in history.exclusions}
    known |= history.readmitted_since(last.at)
    return exclude_events(
        (
            Blame(node=node.name, evidence=f"Slurm, after the end: {node.state} {node.reason}")
            for node in seen.nodes
            if node.down and node.name in last.nodes and node.name not in known
        ),
        now=seen.time,
        until=seen.time + policy.exclude_for,
        submit_time=last.submit_time,
    )


def plan_pending(seen: Observation, history: History, last: EndEvent | None) -> Plan:
    """Plan a job that waits for an attempt; empty for a job that a person holds.

    Args:
        seen: the job, PENDING and not COMPLETING.
        history: the run's journal.
        last: the end before the attempt, restarted; None: no attempt has ended.
    """
    if is_held_by_people(seen.job, history, last):
        text = f"held by a person ({seen.job.reason}): left alone"
        return Plan(events=note_once(seen, history, text))
    due = due_time(last)
    # A job with a begin time that a person has set does not wait for nodes before that time.
    theirs = not start_is_ours(seen.job, history, seen.cluster.requeue_delay, seen.now)
    since = max(due, (seen.job.eligible_time or 0) if theirs else 0)
    waited = max(0.0, seen.now - since) if since else 0.0
    # Slurm could not start the job before its begin time, whether a person has set it or not. Where
    # the begin time is this plugin's to set, the job waits for nodes once that is done.
    begun = theirs or (bool(due) and _was_started(seen, history, due))
    ready = max(0.0, seen.now - max(due, seen.job.eligible_time or 0)) if due and begun else 0.0
    if seen.job.array_task_id is not None:
        ready = 0.0  # the array's limit of running tasks may be what it waits for
    fitted = fit(seen, history, last, waited=ready)
    if last is not None and fitted.size.num_nodes is None and waited > fitted.policy.give_up_after:
        return _give_up(seen, fitted)
    planned = _with_begin(seen, last, _with_values(seen, fitted), fitted)
    if last is None or not _needs_new_comment(seen, planned, fitted):
        return planned
    comment = restart_comment(seen, fitted, last)
    return replace(planned, job_update=replace(planned.job_update, admin_comment=comment))


def _needs_new_comment(seen: Observation, planned: Plan, fitted: Fit) -> bool:
    """Whether AdminComment is to be that of the restart, which has not been written or is old."""
    update = planned.job_update
    if is_judged_later(seen.job):
        # Only with the begin time: until then it shows whose begin time it is.
        return planned.start is not None
    anew = fitted.avoidance is not None and update.exc_nodes is not None
    return anew and update.admin_comment is None


def due_time(last: EndEvent | None) -> int:
    """Return when the attempt after an end is to start; 0: there was no end."""
    return 0 if last is None else last.start_at or last.at


def is_held_by_people(job: Job, history: History, last: EndEvent | None) -> bool:
    """Return whether a hold stands that neither Slurm's own protection nor 0.2 has set."""
    if not job.held or history.applied.held:
        return False
    if job.reason == PROLOG_HELD:
        return last is None or last.action is not Action.RELEASE
    return job.reason != BAD_CONSTRAINTS


def note_once(seen: Observation, history: History, text: str) -> tuple[NoteEvent, ...]:
    """Return a note event unless the same text is already in the journal."""
    return () if history.noted(text) else (NoteEvent(at=seen.time, text=text),)


def _give_up(seen: Observation, fitted: Fit) -> Plan:
    text = f"csx-restart: gives up waiting: {fitted.size.reason}"
    return Plan(
        events=(*fitted.events, *note_once(seen, fitted.history, text)),
        job_update=JobUpdate(admin_comment=merge_admin_comment(seen.job.admin_comment, text)),
        after=(Verb.CANCEL,),
    )


def _with_values(seen: Observation, fitted: Fit) -> Plan:
    """Return the plan for size, exclusions and a hold of Slurm's own."""
    job, history, new_size = seen.job, fitted.history, fitted.new_size
    events = (*fitted.events, *_confirm(seen, fitted))
    size = None
    if new_size is not None and new_size != job.num_nodes:
        if size_is_ours(job.num_nodes, history, seen.comment_record.job_nodes):
            size = new_size
        else:
            text = f"a person set {job.num_nodes} nodes: left alone"
            events = (*events, *note_once(seen, history, text))
    exc_nodes = exclusion_list(job, history, fitted.own, seen.names)
    # Slurm holds a job that it cannot schedule. A change of this plugin can help it at once. What
    # else may have changed (a node is back, a release was lost in a crash) is tried now and then.
    changed = exc_nodes is not None or size is not None
    helped = job.reason != BAD_CONSTRAINTS or changed or _is_to_be_tried(seen, history)
    release = job.held and fitted.size.num_nodes is not None and helped
    return Plan(
        events=events,
        job_update=JobUpdate(exc_nodes=exc_nodes, own_nodes=fitted.own, num_nodes=size),
        after=(Verb.RELEASE,) if release else (),
    )


def _is_to_be_tried(seen: Observation, history: History) -> bool:
    """Whether no request has been made for so long that a job is released from Slurm's hold."""
    asked = history.last_intent
    return asked is not None and seen.now - asked.at >= RETRY_RELEASE


def _confirm(seen: Observation, fitted: Fit) -> tuple[AppliedEvent, ...]:
    """Record that the job shows this plugin's exclusions, which a crash kept from the journal.

    After a restart of slurmctld it is recorded anew: what is missing later was cleared by a person.
    """
    history = fitted.history
    shown = tuple(sorted(set(seen.job.exc_nodes) & history.intended.exc_nodes))
    if not shown or not set(fitted.own) <= set(shown):
        return ()
    recorded = set(history.applied.exc_nodes or ()) == set(shown)
    if recorded and is_applied_since(history, seen.cluster.boot_time):
        return ()
    return (AppliedEvent(at=seen.time, exc_nodes=shown),)


def _with_begin(seen: Observation, last: EndEvent | None, planned: Plan, fitted: Fit) -> Plan:
    """Add the begin time, and when to look again."""
    job, history, now = seen.job, fitted.history, seen.now
    ours = start_is_ours(job, history, seen.cluster.requeue_delay, seen.now)
    if fitted.size.num_nodes is None:
        return _wait_for_nodes(seen, planned, fitted) if ours else planned
    if last is None:
        # The first attempt begins when its user wants; only a wait for nodes is taken back.
        waits = ours and (job.eligible_time or 0) > now and bool(history.intended.starts)
        return _begin_now(seen, planned) if waits else planned
    if not ours or job.held:
        return planned
    due = due_time(last)
    if now < due:
        return _begin_later(seen, planned, due)
    startable = (job.submit_time or 0) + seen.margin + 1
    if now < startable:
        return replace(planned, look_again=startable)
    return planned if _was_started(seen, history, due) else _begin_now(seen, planned)


def _begin_later(seen: Observation, planned: Plan, due: int) -> Plan:
    planned = replace(planned, look_again=due)
    if abs((seen.job.eligible_time or 0) - due) <= SAFE_START:
        return planned
    return _set_begin(planned, f"now+{max(1, due - seen.time)}", due)


def _was_started(seen: Observation, history: History, due: int) -> bool:
    """Whether `StartTime=now` was applied since the job is due, and the begin time has passed.

    A begin time that passes by itself is noticed by the main scheduling loop only (up to a
    minute): an update starts the scheduler at once. One such update is enough. A begin time after
    `now` has not passed, even if it had when it was applied: the clock was set back in between.
    """
    start, at = history.applied.start_time, history.start_applied_at
    began = start is not None and at >= due and start <= min(at, seen.now)
    return began and (seen.job.eligible_time or 0) <= seen.now


def _set_begin(planned: Plan, start: str, at: int) -> Plan:
    return replace(planned, start=start, job_update=replace(planned.job_update, start_time=at))


def _begin_now(seen: Observation, planned: Plan) -> Plan:
    return _set_begin(planned, "now", seen.time)


def _wait_for_nodes(seen: Observation, planned: Plan, fitted: Fit) -> Plan:
    if (seen.job.eligible_time or 0) - seen.now > RENEW or seen.job.held:
        return planned
    text = f"csx-restart: waits: {fitted.size.reason}"
    comment = merge_admin_comment(seen.job.admin_comment, text)
    planned = _set_begin(planned, f"now+{WAIT}", seen.time + WAIT)
    return replace(planned, job_update=replace(planned.job_update, admin_comment=comment))


def restart_comment(seen: Observation, fitted: Fit, last: EndEvent) -> str:
    """Return the AdminComment of a job that is restarted after an end."""
    new = [
        f"excluded {exclusion.node} ({exclusion.evidence})"
        for exclusion in fitted.history.excluded(seen.now)
        if exclusion.since >= last.at
    ]
    if fitted.avoidance is not None:
        new.append(fitted.avoidance.reason)
    text = format_admin_comment(
        last,
        max_restarts=fitted.policy.max_restarts,
        size=fitted.size,
        notes=new,
        search=None if fitted.avoidance is None else fitted.avoidance.mark,
    )
    return merge_admin_comment(seen.job.admin_comment, text)
