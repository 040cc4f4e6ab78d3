"""Plan what is done about an end: attribution, decision, job update and journal events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slurm_restart.core.attribute_end import EndFacts, attribute_end
from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.decision import Decision, Progress, Situation, decide
from slurm_restart.core.history import (
    Action,
    EndEvent,
    Event,
    ExcludeEvent,
    Exclusion,
    History,
    ReadmitEvent,
    replay,
)
from slurm_restart.core.job import Job, JobEnd, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.node_pool import NodePool, SizeChoice, build_pool, choose_size
from slurm_restart.core.operations import (
    SAFE_START,
    JobUpdate,
    cleared_by_person,
    format_admin_comment,
    merge_admin_comment,
    user_excluded,
)
from slurm_restart.core.policy import Policy, SitePolicy, policy_for

_KEEP_SIZE = "a person has set the job's size"


@dataclass(frozen=True, kw_only=True)
class EndCase:
    """All that is known when an end is planned. Times are epoch seconds."""

    end: JobEnd
    job: Job
    comment_record: CommentRecord
    named: tuple[str, ...]
    """The node names of the comment record's hostlist, expanded."""
    nodes: tuple[NodeState, ...]
    reserved: tuple[str, ...] | None
    history: History
    site: SitePolicy
    now: int
    source: str = "hook"
    stale: bool = False
    """Whether the comment record is known to belong to an earlier attempt."""

    @property
    def self_report(self) -> CommentRecord | None:
        """The comment record if it belongs to this attempt; records of others are ignored."""
        return self_report_for(self.comment_record, self.end) if not self.stale else None


@dataclass(frozen=True, kw_only=True)
class EndPlan:
    """What is to be done about an end."""

    attribution: Attribution
    decision: Decision
    events: tuple[Event, ...]
    """For the journal, before anything is done."""
    job_update: JobUpdate
    size: SizeChoice
    exclusions: tuple[Exclusion, ...]
    start_at: int
    """When the next attempt is to start."""


def self_report_for(comment_record: CommentRecord, end: JobEnd) -> CommentRecord | None:
    """Return the comment record if it belongs to the attempt that has ended, else None."""
    return comment_record if comment_record.submit == end.submit_time else None


def granted_policy(
    comment_record: CommentRecord,
    site: SitePolicy,
    history: History,
    job: Job,
    nodes: Sequence[str] = (),
) -> Policy:
    """Return the limits of a run, with its size limited to what Slurm has granted.

    SlurmUser, who writes the size, is bound by no limit of an association or a QOS, but the comment
    record is written by the user.

    Args:
        comment_record: what the run asks for.
        site: the site's own limits.
        history: the attempts before.
        job: as Slurm shows it.
        nodes: those of the attempt that has ended.
    """
    policy = policy_for(comment_record, site)
    granted = max(len(nodes), job.num_nodes, *(end.num_nodes or 0 for end in history.ends))
    if granted >= policy.num_nodes:
        return policy
    return replace(policy, num_nodes=granted, min_nodes=min(granted, policy.min_nodes))


def attempt_progress(case: EndCase, policy: Policy) -> Progress:
    """Return how far the attempt got, from the job's self-report."""
    self_report = case.self_report
    # An evaluation makes no progress, whether it reports or not.
    made = False if policy.evaluation else None
    if self_report is None:
        return Progress(made=made)
    start, step = (
        self_report.from_step,
        self_report.from_step if self_report.step is None else self_report.step,
    )
    if made is None and step is not None and start is not None and step > start:
        made = True
    elif self_report.ended:
        made = False
    return Progress(made=made, attempt=self_report.attempt, from_step=start, step=step)


def known_restarts(case: EndCase) -> int:
    """Slurm's restart count when this attempt began."""
    self_report = case.self_report
    if self_report is not None and self_report.restarts is not None:
        return self_report.restarts
    return case.history.known_restarts()


def exclude_events(
    blamed: Iterable[Blame], *, now: int, until: int, submit_time: int
) -> tuple[ExcludeEvent, ...]:
    """Journal entries for nodes that evidence names."""
    return tuple(
        ExcludeEvent(
            at=now, node=blame.node, until=until, evidence=blame.evidence, submit_time=submit_time
        )
        for blame in blamed
    )


def readmit_events(job: Job, history: History, now: int) -> tuple[ReadmitEvent, ...]:
    """Journal entries for exclusions that are over: run out, or cleared by a person."""
    by_people = set(cleared_by_person(job.exc_nodes, history.applied, history.exclusions))
    over = {exclusion.node for exclusion in history.exclusions if exclusion.until <= now}
    return tuple(
        ReadmitEvent(at=now, node=node, why="a person took it off the job's list")
        if node in by_people
        else ReadmitEvent(at=now, node=node, why="its time ran out")
        for node in sorted(by_people | over)
    )


def own_exclusions(job: Job, history: History, exclusions: Sequence[Exclusion]) -> tuple[str, ...]:
    """The nodes that this plugin adds to those that people exclude."""
    people = user_excluded(job.exc_nodes, history.applied)
    return tuple(sorted({exclusion.node for exclusion in exclusions} - set(people)))


def exclusion_list(
    job: Job, history: History, exclusions: Sequence[Exclusion]
) -> tuple[str, ...] | None:
    """Return the new ExcNodeList, people's nodes first; None: it is unchanged."""
    people = user_excluded(job.exc_nodes, history.applied)
    wanted = (*people, *own_exclusions(job, history, exclusions))
    return None if set(wanted) == set(job.exc_nodes) else wanted


def available_pool(
    job: Job,
    history: History,
    exclusions: Sequence[Exclusion],
    nodes: Iterable[NodeState],
    reserved: Sequence[str] | None,
) -> NodePool:
    """What the job could run on with these exclusions."""
    people = user_excluded(job.exc_nodes, history.applied)
    barred = {*people, *(exclusion.node for exclusion in exclusions)}
    return build_pool(job, nodes, barred, reserved)


def plan_end(case: EndCase) -> EndPlan:
    """Plan one end. Every end has a plan."""
    policy = granted_policy(case.comment_record, case.site, case.history, case.job, case.end.nodes)
    facts = EndFacts(
        end=case.end, self_report=case.self_report, known_restarts=known_restarts(case)
    )
    attribution = attribute_end(facts, case.named)
    progress = attempt_progress(case, policy)
    decision = decide(
        Situation(
            attribution=attribution,
            progress=progress,
            policy=policy,
            history=case.history,
            restarts=case.end.restarts,
            requeueable=case.job.requeue,
            run_time=_run_time(case, attribution),
        )
    )
    ended = _end_event(case, attribution, decision, progress)
    if not decision.action.restarts:
        return _without_restart(case, attribution, decision, ended)
    return _with_restart(case, policy, attribution, decision, ended)


def _without_restart(
    case: EndCase, attribution: Attribution, decision: Decision, ended: EndEvent
) -> EndPlan:
    why = None
    if decision.action is Action.CANCEL:
        text = f"csx-restart: ends here: {decision.reason}"
        why = merge_admin_comment(case.job.admin_comment, text)
    return EndPlan(
        attribution=attribution,
        decision=decision,
        events=(ended,),
        job_update=JobUpdate(admin_comment=why),
        size=SizeChoice(num_nodes=None, reason="no restart"),
        exclusions=case.history.excluded(case.now),
        start_at=case.now,
    )


def _with_restart(
    case: EndCase, policy: Policy, attribution: Attribution, decision: Decision, ended: EndEvent
) -> EndPlan:
    now = case.now
    changes: tuple[Event, ...] = (
        *readmit_events(case.job, case.history, now),
        *exclude_events(
            attribution.blamed,
            now=now,
            until=now + policy.exclude_for,
            submit_time=case.end.submit_time,
        ),
    )
    exclusions = replay(changes, case.history).excluded(now)
    pool = available_pool(case.job, case.history, exclusions, case.nodes, case.reserved)
    size, num_nodes = _size(case, choose_size(policy, pool, waited=0))
    new = {blame.node for blame in attribution.blamed}
    text = format_admin_comment(
        decision,
        max_restarts=policy.max_restarts,
        step=ended.step,
        size=size,
        excluded=[exclusion for exclusion in exclusions if exclusion.node in new],
    )
    start_at = now + decision.delay
    # A person who requeued the job may have set a begin time as well.
    begin = case.job.eligible_time or 0
    chosen = attribution.requeued and begin > now + SAFE_START and begin != case.job.submit_time
    return EndPlan(
        attribution=attribution,
        decision=decision,
        events=(ended, *changes),
        job_update=JobUpdate(
            exc_nodes=exclusion_list(case.job, case.history, exclusions),
            own_nodes=own_exclusions(case.job, case.history, exclusions),
            num_nodes=num_nodes,
            start_time=None if chosen else start_at,
            admin_comment=merge_admin_comment(case.job.admin_comment, text),
            held=True if _to_be_held(case, decision, size) else None,
        ),
        size=size,
        exclusions=exclusions,
        start_at=start_at,
    )


def _to_be_held(case: EndCase, decision: Decision, size: SizeChoice) -> bool:
    """Return whether this plugin holds the job, which is not held already.

    People may hold a running job (its priority is 0 then), and only they may release it.
    """
    waits = size.num_nodes is None
    return waits and decision.action is not Action.RELEASE and case.job.priority != 0


def _size(case: EndCase, wanted: SizeChoice) -> tuple[SizeChoice, int | None]:
    """Return the size of the next attempt, and the size to apply (None: it is unchanged)."""
    had = len(case.end.nodes)
    standing = case.history.applied.num_nodes or case.comment_record.num_nodes
    if had and had != standing:
        return SizeChoice(num_nodes=had, reason=_KEEP_SIZE), None
    if wanted.num_nodes is None or wanted.num_nodes == standing:
        return wanted, None
    return wanted, wanted.num_nodes


def _run_time(case: EndCase, attribution: Attribution) -> int | None:
    """Return the seconds that the attempt ran; a requeue resets them in Slurm (None)."""
    return None if attribution.requeued else case.end.run_time


def _end_event(
    case: EndCase, attribution: Attribution, decision: Decision, progress: Progress
) -> EndEvent:
    return EndEvent(
        at=case.now,
        submit_time=case.end.submit_time,
        restarts=case.end.restarts,
        requeued=attribution.requeued,
        category=attribution.category,
        rule=attribution.rule,
        action=decision.action,
        reason=decision.reason,
        attempt=progress.attempt,
        progress=progress.made,
        from_step=progress.from_step,
        step=progress.step,
        root=attribution.root_hash,
        run_time=_run_time(case, attribution),
        num_nodes=len(case.end.nodes) or case.job.num_nodes,
        nodes=case.end.nodes,
        start_at=case.now + decision.delay,
        failures=decision.failures,
        total=decision.total,
        source=case.source,
    )
