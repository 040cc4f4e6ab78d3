"""A pure model of how Slurm treats one managed job, explored step by step with the real `plan`.

What it knows of Slurm was measured on 22.05, 24.11 and 26.05: states, refusals, delays, the loss of
unsaved state when slurmctld is killed, and what people may do. A step is one act of Slurm, of a
person, of time, or of one of the three that call `plan`: hook, helper and reconciler. Each of those
can be killed between any two requests; where Python fails, csx-epilog requeues the job by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from slurm_restart.core.category import Category
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.fit_pending import (
    BAD_CONSTRAINTS,
    PROLOG_HELD,
    RETRY_RELEASE,
    Observation,
)
from slurm_restart.core.history import History, replay
from slurm_restart.core.job import Job, JobEnd, JobFlag, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import AppliedEvent, Event, IntendEvent, OutcomeEvent
from slurm_restart.core.plan import RunPlan, RunView, plan
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.slurm_operations import JUDGED_LATER, LATE_BEGIN, Operation, Verb

NODES = ("n1", "n2", "n3")
START = 1000
DELAY = 121
SWEEP = 60
"""Seconds between two runs of the reconciler: its timer (contrib/systemd)."""
RUN = "0123456789abcdef"
SITE = SitePolicy(
    backoff=(), outside_backoff=0, short_wait=0, short_attempt=0, max_prolog_failed_share=1.0
)
OUTCOMES = {
    # name: exit code, reported cause (None: no report), made progress, names its node
    "success": (0, Category.COMPLETED, True, False),
    "failure": (1, Category.UNKNOWN, False, False),
    "progress": (1, Category.UNKNOWN, True, False),
    "no report": (1, None, False, False),
    "bad node": (1, Category.HARDWARE_ACCELERATOR, False, True),
    "config": (1, Category.CONFIG, False, False),
    "node failure": (0, None, False, True),
}


class Journals:
    """Every journal of the exploration, by number, so that a state is small and compared fast."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, Event], int] = {}
        self.histories: list[History] = [History()]

    def append(self, number: int, *events: Event) -> int:
        """Return the number of the journal that follows."""
        for event in events:
            key = (number, event)
            if key not in self._numbers:
                self._numbers[key] = len(self.histories)
                self.histories.append(replay([event], self.histories[number]))
            number = self._numbers[key]
        return number


JOURNALS = Journals()


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """What slurmctld holds of the job; it loses the last change if it is killed before it saves."""

    state: JobState = JobState.RUNNING
    completing: bool = False
    restarts: int = 0
    submit: int = START
    begin: int = START
    start: int = START
    held: bool = False
    reason: str = "None"
    nodes: tuple[str, ...] = NODES[:2]
    exc: tuple[str, ...] = ()
    size: int = 2
    exit_code: int = 0
    comment: str = ""
    requeue_at_end: bool = False
    """Slurm requeues the job when it leaves COMPLETING: RequeueExit."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A hook, helper or reconciler between two requests to Slurm; it holds the journal's lock."""

    name: str
    step: RunPlan
    left: tuple[Operation, ...]
    done: tuple[Operation, ...] = ()
    refused: bool = False


@dataclass(frozen=True, kw_only=True)
class World:
    """One state of the model."""

    now: int = START
    slurm: SlurmJob = field(default_factory=SlurmJob)
    saved: SlurmJob | None = None
    """What is left of the job if slurmctld is killed now; None: everything is saved."""
    boot: int = 0
    alive: bool = True
    """Whether the trainer's process runs."""
    record: CommentRecord = field(
        default_factory=lambda: CommentRecord(
            run=RUN,
            max_restarts=1,
            num_nodes=2,
            min_nodes=1,
            attempt=0,
            submit=START,
            restarts=0,
            from_step=0,
            step=0,
        )
    )
    down: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()
    """Nodes on which the prolog failed."""
    returned: int = 0
    hook: tuple[int, int, tuple[str, ...]] | None = None
    """Exit code, restart count and nodes of a hook that slurmctld has still to run."""
    hook_running: bool = False
    queued: tuple[int, int, tuple[str, ...]] | None = None
    """The same of a hook whose Python failed, for the reconciler."""
    helper: float | None = None
    actor: Actor | None = None
    journal: int = 0
    """Its number in `JOURNALS`."""
    hook_died: bool = False
    dependent: str = "waits"
    outcomes: tuple[str, ...] = ()
    """Of the attempts so far."""
    ran_on: tuple[tuple[str, ...], ...] = (NODES[:2],)
    crashes: int = 0
    kills: int = 0
    fronts: int = 0
    """How often csx-epilog has requeued the job by itself, as Python failed."""
    acts: int = 0
    cancelled: bool = False
    """A person's scancel has taken effect."""
    people: tuple[str, ...] = ()
    step: str = field(default="", compare=False)
    """The step that led to this state."""
    before: "World | None" = field(default=None, compare=False, repr=False)

    @property
    def history(self) -> History:
        """The journal, replayed."""
        return JOURNALS.histories[self.journal]

    @property
    def trail(self) -> list[str]:
        """The steps from the start to this state."""
        steps: list[str] = []
        world: World | None = self
        while world is not None:
            steps.append(world.step)
            world = world.before
        return steps[::-1]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How far the model is explored."""

    outcomes: tuple[str, ...]
    attempts: int = 4
    crashes: int = 1
    kills: int = 0
    fronts: int = 0
    acts: tuple[str, ...] = ()
    max_acts: int = 1
    shows_base: bool = False
    """Whether Slurm shows the base state of a COMPLETING job (from 24.11)."""
    requeue_exit: frozenset[int] = frozenset()
    prolog_failures: int = 0
    """How many starts may fail in the nodes' prolog."""
    returns: int = 0
    """How many nodes may come back."""
    min_nodes: int = 1
    exclude_for: int | None = None
    give_up_after: int | None = None

    def first(self) -> World:
        """Return the state in which the exploration starts."""
        record = replace(
            World().record,
            min_nodes=self.min_nodes,
            exclude_for=self.exclude_for,
            give_up_after=self.give_up_after,
        )
        return World(record=record)


def to_job(world: World, bounds: Bounds) -> Job:
    """Return the job as Slurm's commands show it."""
    slurm = world.slurm
    hidden = slurm.completing and not bounds.shows_base
    pending = slurm.state is JobState.PENDING
    return Job(
        job_id=7,
        uid=1000,
        state=None if hidden else slurm.state,
        flags=frozenset({JobFlag.COMPLETING}) if slurm.completing else frozenset(),
        reason=slurm.reason,
        submit_time=slurm.submit,
        eligible_time=slurm.begin,
        start_time=slurm.start,
        end_time=world.now,
        run_time=600,
        time_limit=3600,
        restarts=slurm.restarts,
        exit_code=slurm.exit_code,
        num_nodes=slurm.size if pending else len(slurm.nodes) or slurm.size,
        nodes=() if pending and not slurm.completing else slurm.nodes,
        exc_nodes=slurm.exc,
        partitions=("main",),
        priority=0 if slurm.held else 100,
        admin_comment=slurm.comment,
    )


def _failed(node: NodeState) -> bool:
    return node.down or node.prolog_failed


def to_view(world: World, bounds: Bounds, source: str) -> RunView:
    """Return what hook, helper or reconciler see."""
    job, history = to_job(world, bounds), world.history
    nodes = tuple(
        NodeState(
            name=name,
            state="DOWN" if name in world.down else "IDLE",
            flags=frozenset({"DRAIN"}) if name in world.drained else frozenset(),
            reason="Prolog error" if name in world.drained else "",
            partitions=frozenset({"main"}),
        )
        for name in NODES
    )
    down = tuple(node for node in nodes if node.name in job.nodes and _failed(node))
    end = JobEnd(
        cluster="c",
        job_id=7,
        uid=1000,
        submit_time=job.submit_time or 0,
        exit_code=job.exit_code,
        signal=0,
        reason=job.reason,
        state=job.state,
        restarts=job.restarts,
        nodes=job.nodes,
        run_time=600,
        time_limit=3600,
        down_nodes=down,
    )
    waits = job.state is JobState.PENDING and not job.completing
    hook = world.hook if source == "hook" else world.queued
    if hook is not None and source != "hook" and not (waits and hook[1] - job.restarts in (-1, 0)):
        hook = None  # of an attempt before
    if hook is not None:
        code, restarts, names = hook
        down = tuple(node for node in nodes if node.name in names and _failed(node))
        end = replace(end, exit_code=code, env_restarts=restarts, nodes=names, down_nodes=down)
        if waits and world.record.submit is not None:
            end = replace(end, submit_time=world.record.submit)
    elif waits:
        started = history.started
        if started is not None and started.restarts == job.restarts - 1:
            down = tuple(node for node in nodes if node.name in started.nodes and _failed(node))
            end = replace(
                end, nodes=started.nodes, submit_time=started.submit_time, down_nodes=down
            )
        elif world.record.submit is not None:
            end = replace(end, submit_time=world.record.submit)
    return RunView(
        history=history,
        seen=Observation(
            job=job,
            comment_record=world.record,
            nodes=nodes,
            reserved=None,
            cluster=ClusterFacts(boot_time=world.boot or None, requeue_exit=bounds.requeue_exit),
            site=SITE,
            now=float(world.now),
        ),
        end=end,
        named=tuple((world.record.nodes or "").split(",")) if world.record.nodes else (),
        source="sweep" if hook is None else "hook",
        stale_running_after=10.0,
    )


# --- what happens next ---------------------------------------------------------------------------


def next_worlds(world: World, bounds: Bounds) -> Iterator[World]:
    """Yield every state that can follow, each with the name of the step on its trail."""
    for name, following in _steps(world, bounds):
        saved = following.saved if following.kills < bounds.kills else None
        yield replace(following, saved=saved, step=name, before=world)


def _steps(world: World, bounds: Bounds) -> Iterator[tuple[str, World]]:
    swept = [] if world.slurm.completing else list(_call(world, bounds, "sweep"))
    if world.actor is not None:
        yield from _acting(world, bounds, world.actor)
    else:
        yield from _callers(world, bounds)
        yield from swept
    yield from _slurm_steps(world, bounds)
    if world.hook is None and world.actor is None:
        later = _next_time(world, bounds)
        # The reconciler runs every minute.
        if later is not None and (later - world.now < SWEEP or not swept):
            yield f"time passes: {later - world.now} s", replace(world, now=later)
    yield from _people_steps(world, bounds)
    if world.kills < bounds.kills and world.saved is not None:
        yield "slurmctld is killed", _kill(world)


def _callers(world: World, bounds: Bounds) -> Iterator[tuple[str, World]]:
    if world.hook is not None:
        yield from _call(world, bounds, "hook")
        if world.crashes < bounds.crashes:
            dead = replace(world, crashes=world.crashes + 1, hook_died=True)
            yield "hook dies at its start", _drop_hook(dead)
        if world.fronts < bounds.fronts:
            yield "csx-epilog cannot start Python", _requeue_by_front(world)
    if world.helper is not None and world.helper <= world.now:
        yield from _call(world, bounds, "helper")
        if world.crashes < bounds.crashes:
            yield "helper dies", replace(world, helper=None, crashes=world.crashes + 1)


def _requeue_by_front(world: World) -> World:
    """Let csx-epilog requeue a job that failed, with a late begin time: Python has failed."""
    assert world.hook is not None
    code, slurm = world.hook[0], world.slurm
    after = replace(_drop_hook(world), fronts=world.fronts + 1, queued=world.hook)
    if code == 0 or not slurm.completing:
        return after
    if slurm.state is not JobState.PENDING and slurm.restarts <= world.hook[1]:
        after = _requeue(after)
    if after.slurm.state is not JobState.PENDING:
        return after
    return _change(after, begin=world.now + LATE_BEGIN, comment=JUDGED_LATER)


def _drop_hook(world: World) -> World:
    return replace(world, hook=None, hook_running=False, actor=None)


@lru_cache(maxsize=200_000)
def _planned(seen: World, bounds: Bounds, source: str) -> RunPlan:
    return plan(to_view(seen, bounds, source))


def _plan(world: World, bounds: Bounds, source: str) -> RunPlan:
    """Return the plan, which depends on these parts of the state only."""
    seen = World(
        now=world.now,
        slurm=world.slurm,
        boot=world.boot,
        record=world.record,
        down=world.down,
        drained=world.drained,
        hook=world.hook if source == "hook" else None,
        queued=world.queued if source != "hook" else None,
        journal=world.journal,
    )
    return _planned(seen, bounds, source)


def _call(world: World, bounds: Bounds, name: str) -> Iterator[tuple[str, World]]:
    step = _plan(world, bounds, "hook" if name == "hook" else "sweep")
    hostlist = ",".join(step.plan.job_update.exc_nodes or ())
    operations = step.plan.operations(hostlist)
    events = step.plan.events
    if operations:
        wanted = step.plan.job_update
        events = (
            *events,
            IntendEvent(
                at=world.now,
                **step.end._asdict(),
                operations=tuple(operation.to_text() for operation in operations),
                exc_nodes=None if wanted.exc_nodes is None else wanted.own_nodes,
                num_nodes=wanted.num_nodes,
                start_time=wanted.start_time,
            ),
        )
    look = step.plan.look_again
    helper = (look if name != "sweep" else world.helper) if not operations else world.helper
    if name == "sweep" and not events:
        return  # nothing changes
    actor = Actor(name=name, step=step, left=operations) if operations else None
    following = replace(world, journal=JOURNALS.append(world.journal, *events), actor=actor)
    if name == "sweep" and step.judgement is not None:
        following = replace(following, queued=None)
    if name == "hook" and world.fronts < bounds.fronts:
        yield "csx-epilog's Python dies once it has judged", _requeue_by_front(following)
    if actor is None:
        following = _end_call(following, name, helper)
        if following == world:
            return
    yield f"{name} plans {', '.join(map(str, operations)) or 'nothing'}", following


def _end_call(world: World, name: str, helper: float | None) -> World:
    if name == "hook":
        return replace(_drop_hook(world), helper=helper)
    return replace(world, helper=helper) if name == "helper" else world


def _acting(world: World, bounds: Bounds, actor: Actor) -> Iterator[tuple[str, World]]:
    if world.crashes < bounds.crashes:
        dead = replace(world, crashes=world.crashes + 1, actor=None)
        dead = _drop_hook(replace(dead, hook_died=True)) if actor.name == "hook" else dead
        dead = replace(dead, helper=None) if actor.name == "helper" else dead
        yield f"{actor.name} dies", dead
    if not actor.left or actor.refused:
        yield f"{actor.name} writes the outcome", _outcome(world, actor)
        return
    operation = actor.left[0]
    changed = _request(world, operation)
    if changed is None:
        # A job that has started meanwhile is no refusal, but ends the requests (control/apply.py).
        stop = operation.verb is Verb.REQUEUE or world.slurm.state is JobState.RUNNING
        after = replace(actor, left=actor.left[1:], refused=stop)
        yield f"{actor.name}: {operation} refused", replace(world, actor=after)
        return
    after = replace(actor, left=actor.left[1:], done=(*actor.done, operation))
    yield f"{actor.name}: {operation}", replace(changed, actor=after)


def _outcome(world: World, actor: Actor) -> World:
    taken = {name for operation in actor.done for name, _ in operation.fields}
    wanted = actor.step.plan.job_update
    events = (
        OutcomeEvent(
            at=world.now,
            **actor.step.end._asdict(),
            done=tuple(operation.to_text() for operation in actor.done),
        ),
        AppliedEvent(
            at=world.now,
            exc_nodes=wanted.own_nodes if "ExcNodeList" in taken else None,
            num_nodes=wanted.num_nodes if "NumNodes" in taken else None,
            start_time=wanted.start_time if "StartTime" in taken else None,
            held=False if Verb.RELEASE in {operation.verb for operation in actor.done} else None,
        ),
    )
    world = replace(world, journal=JOURNALS.append(world.journal, *events), actor=None)
    # A refusal ends the call; the helper tries again, the others leave it to the next sweep.
    complete = len(actor.done) == len(actor.step.plan.operations(""))
    if not complete and actor.name == "hook":
        return replace(_drop_hook(world), helper=float(world.now + 5))
    if not complete and actor.name == "helper":
        return replace(world, helper=float(world.now + 5))
    return world


def _change(world: World, **changes: object) -> World:
    """Change the job in slurmctld, which has saved nothing newer than the state before."""
    return replace(world, slurm=replace(world.slurm, **changes), saved=world.slurm)  # type: ignore[arg-type]


def _request(world: World, operation: Operation) -> World | None:  # noqa: C901, PLR0911
    """Return the state after a request; None: Slurm refuses it."""
    slurm = world.slurm
    fields = dict(operation.fields)
    match operation.verb:
        case Verb.REQUEUE:
            if slurm.state is JobState.PENDING:
                return world
            if slurm.completing or slurm.state.is_final:
                return _requeue(world)
            return _requeue(_kill_processes(world))
        case Verb.CANCEL:
            return _cancel(world)
        case Verb.RELEASE:
            return _change(world, held=False, reason="None")
        case Verb.HOLD:
            return None
        case Verb.UPDATE:
            if slurm.state is not JobState.PENDING:
                return None
            changes: dict[str, object] = {}
            if "ExcNodeList" in fields:
                changes["exc"] = tuple(filter(None, fields["ExcNodeList"].split(",")))
            if "NumNodes" in fields:
                changes["size"] = int(fields["NumNodes"].split("-")[0])
            if "StartTime" in fields:
                changes["begin"] = world.now + int(fields["StartTime"].removeprefix("now") or 0)
            if "AdminComment" in fields:
                changes["comment"] = fields["AdminComment"]
            return _change(world, **changes)


def _kill_processes(world: World) -> World:
    return replace(world, alive=False)


def _requeue(world: World) -> World:
    slurm = world.slurm
    if slurm.completing:
        return _change(world, state=JobState.PENDING, restarts=slurm.restarts + 1)
    return _to_pending(
        _change(world, state=JobState.PENDING, restarts=slurm.restarts + 1, nodes=())
    )


def _to_pending(world: World) -> World:
    """Let a requeued job leave COMPLETING: a new SubmitTime, and Slurm's own delay."""
    slurm = world.slurm
    begin = slurm.begin if slurm.begin > world.now else world.now + DELAY
    return replace(
        world,
        slurm=replace(
            slurm,
            completing=False,
            submit=world.now,
            begin=begin,
            nodes=(),
            reason=slurm.reason if slurm.held else "None",
        ),
    )


def _cancel(world: World) -> World:
    slurm = world.slurm
    if slurm.state is JobState.PENDING:
        return _change(world, state=JobState.CANCELLED)
    if slurm.state is JobState.RUNNING:
        hook = (0, slurm.restarts, slurm.nodes)
        world = _change(world, state=JobState.CANCELLED, completing=True, exit_code=0)
        return replace(world, alive=False, hook=hook)
    return world  # a COMPLETING job ignores it


def _slurm_steps(world: World, bounds: Bounds) -> Iterator[tuple[str, World]]:
    slurm = world.slurm
    if slurm.state is JobState.RUNNING and world.alive and not slurm.completing:
        if len(world.outcomes) < bounds.attempts:
            for name in bounds.outcomes:
                yield f"attempt ends: {name}", _end_attempt(world, name)
        else:
            yield "attempt ends: success", _end_attempt(world, "success")
    busy = world.hook is not None or (world.actor is not None and world.actor.name == "hook")
    if slurm.completing and not busy:
        yield "COMPLETING ends", _complete(world, bounds)
    if world.saved is not None:
        yield "slurmctld saves", replace(world, saved=None)
    if slurm.state is JobState.PENDING and not slurm.completing and not slurm.held:
        yield from _schedule(world, bounds)
    if world.returned < bounds.returns:
        for name in sorted(world.down):
            back = replace(world, down=world.down - {name}, returned=world.returned + 1)
            yield f"{name} returns", back


def _schedule(world: World, bounds: Bounds) -> Iterator[tuple[str, World]]:
    slurm = world.slurm
    allowed = [name for name in NODES if name not in slurm.exc]
    free = [name for name in allowed if name not in world.down | world.drained]
    if slurm.begin <= world.now and len(free) >= slurm.size:
        nodes = tuple(free[: slurm.size])
        yield "job starts", _start(world, nodes)
        if len(world.drained) < bounds.prolog_failures:
            yield "the prolog fails", _fail_prolog(world, nodes)
    if len(allowed) < slurm.size:
        # Slurm itself holds a job that no set of nodes can serve.
        yield "BadConstraints", _change(world, held=True, reason=BAD_CONSTRAINTS)


def _next_time(world: World, bounds: Bounds) -> int | None:
    """Return the next moment at which anything can change by time alone."""
    moments = []
    if world.slurm.completing:
        # A begin time that passes while the job is COMPLETING is lost.
        begin, pending = world.slurm.begin, world.slurm.state is JobState.PENDING
        return begin if pending and world.now < begin <= world.now + SWEEP else None
    if world.helper is not None and world.helper > world.now:
        moments.append(int(-(-world.helper // 1)))
    slurm = world.slurm
    if slurm.state is JobState.PENDING and not slurm.completing and not slurm.held:
        if slurm.begin > world.now:
            moments.append(slurm.begin)
        if world.now < slurm.submit + 3:
            moments.append(slurm.submit + 3)
        ends = [exclusion.until for exclusion in world.history.exclusions]
        moments += ends if bounds.exclude_for is not None else []
    asked = world.history.last_intent
    if slurm.held and slurm.reason == BAD_CONSTRAINTS and asked is not None:
        moments.append(asked.at + RETRY_RELEASE)
    if slurm.state is JobState.RUNNING and not world.alive:
        seen = world.history.stale_running
        moments += [] if seen is None else [seen.at + 10]
    ahead = [moment for moment in moments if moment > world.now]
    return min(ahead) if ahead else None


def _end_attempt(world: World, name: str) -> World:
    code, cause, progress, names_node = OUTCOMES[name]
    slurm, record = world.slurm, world.record
    now = world.now + 60
    faulty = slurm.nodes[-1]
    if cause is not None:
        step = (record.step or 0) + 5 if progress else record.step
        record = replace(
            record,
            ended=True,
            exit=code,
            cause=cause,
            step=step,
            nodes=faulty if names_node else None,
        )
    world = replace(world, now=now, alive=False, record=record, outcomes=(*world.outcomes, name))
    if name == "node failure":
        # Slurm requeues the job itself.
        world = replace(
            world,
            down=world.down | {faulty},
            hook=(0, slurm.restarts, slurm.nodes),
        )
        return _change(world, state=JobState.PENDING, completing=True, restarts=slurm.restarts + 1)
    state = JobState.FAILED if code else JobState.COMPLETED
    reason = "NonZeroExitCode" if code else "None"
    world = replace(world, hook=(code, slurm.restarts, slurm.nodes))
    return _change(world, state=state, completing=True, exit_code=code, reason=reason)


def _complete(world: World, bounds: Bounds) -> World:
    slurm = world.slurm
    if slurm.state is JobState.PENDING:
        return _to_pending(replace(world, saved=slurm))
    if slurm.exit_code in bounds.requeue_exit and slurm.state is JobState.FAILED:
        again = replace(slurm, state=JobState.PENDING, restarts=slurm.restarts + 1)
        return _to_pending(replace(world, slurm=again, saved=slurm))
    dependent = world.dependent
    if slurm.state is JobState.COMPLETED:
        dependent = "starts" if dependent == "waits" else dependent
    elif dependent == "waits":
        dependent = "lost"
    return replace(_change(world, completing=False), dependent=dependent)


def _start(world: World, nodes: tuple[str, ...]) -> World:
    slurm, record = world.slurm, world.record
    # A run that has finished ends as success at once.
    record = replace(
        record,
        attempt=(record.attempt or 0) + 1,
        submit=slurm.submit,
        restarts=slurm.restarts,
        from_step=record.step,
        ended=False,
        exit=None,
        cause=None,
        nodes=None,
    )
    world = replace(world, alive=True, record=record, ran_on=(*world.ran_on, nodes))
    return _change(
        world, state=JobState.RUNNING, nodes=nodes, start=world.now, reason="None", exit_code=0
    )


def _fail_prolog(world: World, nodes: tuple[str, ...]) -> World:
    """Let a start fail in the prolog of a node: Slurm requeues the job, and holds it (measured)."""
    restarts = world.slurm.restarts + 1
    world = replace(world, drained=world.drained | {nodes[-1]}, hook=(0, restarts, nodes))
    return _change(
        world,
        completing=True,
        restarts=restarts,
        held=True,
        reason=PROLOG_HELD,
        nodes=nodes,
        exit_code=0,
    )


def _kill(world: World) -> World:
    """Kill slurmctld before it has saved its last change, and start it again."""
    saved = world.saved or world.slurm
    hook = world.hook
    completing = saved.completing
    killed = replace(
        world,
        slurm=saved,
        saved=None,
        boot=world.now + 1,
        now=world.now + 1,
        kills=world.kills + 1,
        actor=None if world.actor is None or world.actor.name == "hook" else world.actor,
        hook=hook,
    )
    if saved.state is JobState.PENDING:
        # A start that was not saved: the nodes end processes of which slurmctld does not know.
        killed = replace(killed, alive=False)
    if not completing:
        return replace(killed, hook=None)
    # The end had been saved: the hook runs again from its start.
    if hook is None:
        killed = replace(killed, hook=(saved.exit_code, saved.restarts, saved.nodes))
    return killed


def _may_be_held(world: World) -> bool:
    """Whether a person may hold the job; not in the milliseconds before a release of this plugin.

    Slurm has no request that releases a job only from a certain hold.
    """
    left = () if world.actor is None else world.actor.left
    releases = any(operation.verb is Verb.RELEASE for operation in left)
    pending = world.slurm.state is JobState.PENDING and not world.slurm.completing
    return pending and not releases


def _people_steps(world: World, bounds: Bounds) -> Iterator[tuple[str, World]]:
    if world.acts >= bounds.max_acts:
        return
    slurm = world.slurm
    acted = replace(world, acts=world.acts + 1)
    for act in bounds.acts:
        following = None
        if act == "cancel" and not slurm.state.is_final:
            following = replace(_cancel(acted), cancelled=True)
        elif act == "hold" and _may_be_held(world):
            following = _change(acted, held=True, reason="JobHeldUser")
        elif act == "requeue" and slurm.state.is_final and not slurm.completing:
            following = replace(_requeue(acted), cancelled=False)
        elif act == "exclude" and slurm.state is JobState.PENDING and world.actor is None:
            # Slurm replaces the whole list: between two requests of a plan the act would be lost.
            following = _change(acted, exc=(*slurm.exc, NODES[0]))
        elif act == "clear" and slurm.state is JobState.PENDING and slurm.exc:
            following = _change(acted, exc=())
        if following is not None:
            yield f"a person: {act}", replace(following, people=(*world.people, act))
