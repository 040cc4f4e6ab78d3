"""Plan what is done about an end: attribution, decision, job update and journal events."""

from dataclasses import dataclass

from slurm_restart.core.attribute_end import attribute_end
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.decision import Decision, decide
from slurm_restart.core.end_facts import EndFacts
from slurm_restart.core.exclusions import (
    available_pool,
    exclude_events,
    exclusion_list,
    own_exclusions,
    readmit_events,
)
from slurm_restart.core.history import Exclusion, History, replay
from slurm_restart.core.job import Job, JobEnd, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import Action, EndEvent, Event
from slurm_restart.core.node_pool import SizeChoice, choose_size
from slurm_restart.core.prolog_failures import count_prolog_failures
from slurm_restart.core.restart_limits import Policy, SitePolicy, granted_policy
from slurm_restart.core.situation import Progress, Situation
from slurm_restart.core.slurm_operations import (
    SAFE_START,
    JobUpdate,
    format_admin_comment,
    merge_admin_comment,
)

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
            failed=facts.failed,
            prolog_failures=count_prolog_failures(case.job.partitions, case.nodes),
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
        progress=decision.progress,
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
