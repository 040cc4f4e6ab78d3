"""A pure model of how Slurm treats one managed job, explored step by step with the real `plan`.

What it knows of Slurm was measured (docs/explanation/slurm-behaviour.md): states, refusals, delays,
the loss of unsaved state when slurmctld is killed, and what people may do. A step is one act of
Slurm, of a person, of time, or of one of the three that call `plan`: hook, helper and reconciler.
Each of those can be killed between any two requests.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from slurm_restart.core.category import Category
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.fit_pending import Observation
from slurm_restart.core.history import replay
from slurm_restart.core.job import Job, JobEnd, JobFlag, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import AppliedEvent, Event, IntendEvent, OutcomeEvent
from slurm_restart.core.plan import RunPlan, RunView, plan
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.slurm_operations import Operation, Verb

NODES = ("n1", "n2", "n3")
START = 1000
DELAY = 121
SWEEP = 60
"""Seconds between two runs of the reconciler: its timer (contrib/systemd)."""
RUN = "0123456789abcdef"
SITE = SitePolicy(backoff=(), short_wait=0, short_attempt=0)
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
    hook: tuple[int, int, tuple[str, ...]] | None = None
    """Exit code, restart count and nodes of a hook that slurmctld has still to run."""
    hook_running: bool = False
    helper: float | None = None
    actor: Actor | None = None
    events: tuple[Event, ...] = ()
    dependent: str = "waits"
    outcomes: tuple[str, ...] = ()
    """Of the attempts so far."""
    ran_on: tuple[tuple[str, ...], ...] = (NODES[:2],)
    crashes: int = 0
    kills: int = 0
    acts: int = 0
    cancelled: bool = False
    """A person's scancel has taken effect."""
    people: tuple[str, ...] = ()
    trail: tuple[str, ...] = field(default=(), compare=False, hash=False)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How far the model is explored."""

    outcomes: tuple[str, ...]
    attempts: int = 4
    crashes: int = 1
    kills: int = 0
    acts: tuple[str, ...] = ()
    max_acts: int = 1
    shows_base: bool = False
    """Whether Slurm shows the base state of a COMPLETING job (from 24.11)."""
    requeue_exit: frozenset[int] = frozenset()


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


def to_view(world: World, bounds: Bounds, source: str) -> RunView:
    """Return what hook, helper or reconciler see."""
    job, history = to_job(world, bounds), replay(world.events)
    nodes = tuple(
        NodeState(
            name=name,
            state="DOWN" if name in world.down else "IDLE",
            partitions=frozenset({"main"}),
        )
        for name in NODES
    )
    down = tuple(node for node in nodes if node.name in job.nodes and node.down)
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
    if source == "hook" and world.hook is not None:
        code, restarts, names = world.hook
        down = tuple(node for node in nodes if node.name in names and node.down)
        end = replace(end, exit_code=code, env_restarts=restarts, nodes=names, down_nodes=down)
    elif job.state is JobState.PENDING and not job.completing:
        started = history.started
        if started is not None and started.restarts == job.restarts - 1:
            down = tuple(node for node in nodes if node.name in started.nodes and node.down)
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
        source=source,
        stale_running_after=10.0,
    )


# --- what happens next ---------------------------------------------------------------------------


def next_worlds(world: World, bounds: Bounds) -> Iterator[World]:
    """Yield every state that can follow, each with the name of the step on its trail."""
    for name, following in _steps(world, bounds):
        saved = following.saved if following.kills < bounds.kills else None
        yield replace(following, saved=saved, trail=(*world.trail, name))


def _steps(world: World, bounds: Bounds) -> Iterator[tuple[str, World]]:
    if world.actor is not None:
        yield from _acting(world, bounds, world.actor)
    else:
        yield from _callers(world, bounds)
    yield from _slurm_steps(world, bounds)
    yield from _people_steps(world, bounds)
    if world.kills < bounds.kills and world.saved is not None:
        yield "slurmctld is killed", _kill(world)


def _callers(world: World, bounds: Bounds) -> Iterator[tuple[str, World]]:
    if world.hook is not None:
        yield from _call(world, bounds, "hook")
        if world.crashes < bounds.crashes:
            yield "hook dies at its start", _drop_hook(replace(world, crashes=world.crashes + 1))
    if world.helper is not None and world.helper <= world.now:
        yield from _call(world, bounds, "helper")
        if world.crashes < bounds.crashes:
            yield "helper dies", replace(world, helper=None, crashes=world.crashes + 1)
    if not world.slurm.completing:
        yield from _call(world, bounds, "sweep")


def _drop_hook(world: World) -> World:
    return replace(world, hook=None, hook_running=False, actor=None)


def _call(world: World, bounds: Bounds, name: str) -> Iterator[tuple[str, World]]:
    step = plan(to_view(world, bounds, "hook" if name == "hook" else "sweep"))
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
    following = replace(world, events=(*world.events, *events), actor=actor)
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
        dead = _drop_hook(dead) if actor.name == "hook" else dead
        dead = replace(dead, helper=None) if actor.name == "helper" else dead
        yield f"{actor.name} dies", dead
    if not actor.left or actor.refused:
        yield f"{actor.name} writes the outcome", _outcome(world, actor)
        return
    operation = actor.left[0]
    changed = _request(world, operation)
    if changed is None:
        stop = operation.verb is Verb.REQUEUE
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
        ),
    )
    world = replace(world, events=(*world.events, *events), actor=None)
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
        free = [name for name in NODES if name not in slurm.exc and name not in world.down]
        if slurm.begin <= world.now and len(free) >= slurm.size:
            yield "job starts", _start(world, tuple(free[: slurm.size]))
    later = _next_time(world)
    if later is not None and not busy and world.actor is None and _may_pass(world, later, bounds):
        yield f"time passes: {later - world.now} s", replace(world, now=later)


def _may_pass(world: World, later: int, bounds: Bounds) -> bool:
    """Whether so much time can pass: the reconciler runs every minute (SWEEP)."""
    return later - world.now < SWEEP or not list(_call(world, bounds, "sweep"))


def _next_time(world: World) -> int | None:
    """Return the next moment at which anything can change by time alone."""
    moments = []
    if world.slurm.completing:
        return None  # how long it takes makes no difference to anybody
    if world.helper is not None and world.helper > world.now:
        moments.append(int(-(-world.helper // 1)))
    slurm = world.slurm
    if slurm.state is JobState.PENDING and not slurm.completing and not slurm.held:
        if slurm.begin > world.now:
            moments.append(slurm.begin)
        if world.now < slurm.submit + 3:
            moments.append(slurm.submit + 3)
    if slurm.state is JobState.RUNNING and not world.alive:
        seen = replay(world.events).stale_running
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
    if not completing:
        return replace(killed, hook=None)
    # The end had been saved: the hook runs again from its start.
    if hook is None:
        killed = replace(killed, hook=(saved.exit_code, saved.restarts, saved.nodes))
    return killed


def _people_steps(world: World, bounds: Bounds) -> Iterator[tuple[str, World]]:
    if world.acts >= bounds.max_acts:
        return
    slurm = world.slurm
    acted = replace(world, acts=world.acts + 1)
    for act in bounds.acts:
        following = None
        if act == "cancel" and not slurm.state.is_final:
            following = replace(_cancel(acted), cancelled=True)
        elif act == "hold" and slurm.state is JobState.PENDING and not slurm.completing:
            following = _change(acted, held=True, reason="JobHeldUser")
        elif act == "requeue" and slurm.state.is_final and not slurm.completing:
            following = _requeue(acted)
        elif act == "clear" and slurm.state is JobState.PENDING and slurm.exc:
            following = _change(acted, exc=())
        if following is not None:
            yield f"a person: {act}", replace(following, people=(*world.people, act))
