"""Judge one end, once: its cause, the decision, and the journal events that record both."""

from dataclasses import replace

from slurm_restart.core.attribute_end import attribute_end
from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.category import Category
from slurm_restart.core.decision import Decision, decide
from slurm_restart.core.end_facts import EndFacts
from slurm_restart.core.exclusions import exclude_events, user_excluded
from slurm_restart.core.fall_back import speaks_against_checkpoint
from slurm_restart.core.history import History, replay
from slurm_restart.core.in_place_ends import NONE_IN_PLACE, InPlaceEnds
from slurm_restart.core.job import Job, JobEnd, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import EndEvent, Event, ExcludeEvent
from slurm_restart.core.node_pool import build_pool
from slurm_restart.core.prolog_failures import count_prolog_failures
from slurm_restart.core.ran_before import RunSoFar, doubted
from slurm_restart.core.restart_limits import Policy, SitePolicy, granted_policy
from slurm_restart.core.search_history import search_nodes
from slurm_restart.core.situation import STOPPED, Progress, Situation
from slurm_restart.core.slurm_operations import SearchMark, read_search_mark
from slurm_restart.frozen import frozen


@frozen
class EndCase:
    """All that is known when an end is judged. Times are epoch seconds."""

    end: JobEnd
    job: Job
    comment_record: CommentRecord
    named: tuple[str, ...]
    """The node names of the comment record's hostlist, expanded."""
    nodes: tuple[NodeState, ...]
    history: History
    site: SitePolicy
    now: int
    index: int
    """Slurm's restart count while the attempt ran."""
    left_out: tuple[str, ...] = ()
    """The nodes that attempts in its allocation have left out, as the comment record names them."""
    source: str = "hook"
    resumed_as: int | None = None
    """The id of a later job of the same phase of the run, which a person has submitted."""

    @property
    def stopped(self) -> str | None:
        """Why a person wants no further attempt of this job; None: it may go on."""
        if self.comment_record.is_stopped(self.index):
            return STOPPED
        if self.resumed_as is not None:
            return f"a person has taken the run up as job {self.resumed_as} (csx-restart resume)"
        return None

    @property
    def self_report(self) -> CommentRecord | None:
        """The comment record if it belongs to this attempt; records of others are ignored."""
        report, last = self.comment_record, self.history.end_of(self.index - 1)
        if report.submit != self.end.submit_time:
            return None
        # The attempt before may have had the same SubmitTime (see `attempt_stage`).
        known = last is not None and None not in (report.attempt, last.attempt)
        return None if known and last is not None and report.attempt == last.attempt else report


@frozen
class Judgement:
    """The cause of an end and what is done about it."""

    attribution: Attribution
    decision: Decision
    events: tuple[Event, ...]


def judge_end(case: EndCase) -> Judgement:
    """Judge one end. Every end has a judgement."""
    policy = granted_policy(case.comment_record, case.site, case.history, case.job, case.end.nodes)
    facts = EndFacts(
        end=case.end,
        self_report=case.self_report,
        known_restarts=case.index,
        named=case.named,
        searching=read_search_mark(case.job.admin_comment) is SearchMark.OPEN,
    )
    progress = attempt_progress(case, policy)
    so_far = RunSoFar(
        ends=case.history.ends, step=progress.step, made=progress.made, in_place=_in_place(case)
    )
    attribution = doubted(attribute_end(facts), so_far)
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
            suspects_checkpoint=_suspects_checkpoint(facts.final_report, attribution),
            stopped=case.stopped,
            prolog_failures=count_prolog_failures(case.job.partitions, case.nodes, case.end.nodes),
            in_place=_in_place(case),
            nodes=case.end.nodes,
            other_nodes=_has_others(case),
        )
    )
    ended = _end_event(case, attribution, decision, progress)
    excluded = exclude_events(
        (
            *(attribution.blamed if decision.action.restarts else ()),
            *_found_faulty(case, ended, policy),
        ),
        now=case.now,
        until=case.now + policy.exclude_for,
        submit_time=case.end.submit_time,
    )
    if decision.action.restarts:
        excluded = (*excluded, *_exclude_left_out(case, attribution, policy))
    return Judgement(attribution=attribution, decision=decision, events=(ended, *excluded))


def _has_others(case: EndCase) -> bool:
    """Return whether the job could have nodes that this attempt did not have.

    Those that the search has left out as a guess are among them.
    """
    excluded = (exclusion.node for exclusion in case.history.excluded(case.now))
    barred = {*case.end.nodes, *user_excluded(case.job, case.history), *excluded}
    return bool(build_pool(case.job, case.nodes, barred).usable)


def _exclude_left_out(
    case: EndCase, attribution: Attribution, policy: Policy
) -> tuple[ExcludeEvent, ...]:
    """Exclude nodes of the job that attempts in its allocation have left out."""
    started = case.history.started
    held = set(case.end.nodes)
    if started is not None and started.submit_time == case.end.submit_time:
        held.update(started.nodes)
    named = {blame.node for blame in attribution.blamed}
    report = case.self_report
    return exclude_events(
        (
            Blame(node=node, evidence=_why_left_out(report, first=node == case.left_out[0]))
            for node in (case.left_out if report is not None else ())
            if node in held - named
        ),
        now=case.now,
        until=case.now + policy.exclude_for,
        submit_time=case.end.submit_time,
    )


def _why_left_out(report: CommentRecord | None, *, first: bool) -> str:
    """Return why a node is left out; the record has room for what was found on the first one."""
    said = None if report is None or report.cause is Category.HEALTH_CHECK else report.said
    if said is None or not first:
        return "the job has left it out: see run.log"
    return f"health check: {said.replace('_', ' ')}"


def _found_faulty(case: EndCase, ended: EndEvent, policy: Policy) -> tuple[Blame, ...]:
    """Return the node that no log names and that the ends up to this one show to be faulty.

    It is recorded after a final end too, for the later phases of the run and for people.
    """
    history = replay([ended], case.history)
    search = search_nodes(history, policy)
    known = {exclusion.node for exclusion in history.excluded(case.now)}
    known |= history.readmitted_since(case.now - policy.exclude_for)
    if search.found is None or search.found in known:
        return ()
    return (Blame(node=search.found, evidence=search.evidence),)


def observed_only(judgement: Judgement) -> Judgement:
    """Return the judgement of a site that only observes: nothing is done about the end, ever."""
    events = tuple(
        replace(event, observed=True) for event in judgement.events if isinstance(event, EndEvent)
    )
    return replace(judgement, events=events)


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
    return Progress(
        made=made,
        attempt=self_report.attempt,
        from_step=start,
        step=step,
        unit=self_report.unit,
    )


def _in_place(case: EndCase) -> InPlaceEnds:
    """Return the ends before this one in the same allocation, as the job itself reports them."""
    return NONE_IN_PLACE if case.self_report is None else case.self_report.in_place_ends


def _suspects_checkpoint(report: CommentRecord | None, attribution: Attribution) -> bool:
    """Return whether both the job's report and Slurm's facts speak against its checkpoint."""
    return (
        report is not None
        and report.earlier
        and speaks_against_checkpoint(report.cause, report.rule or "", report.exit)
        # Whether the trainer was killed is a matter of its own report alone.
        and speaks_against_checkpoint(attribution.category, attribution.rule, None)
    )


def _run_time(case: EndCase, attribution: Attribution) -> int | None:
    """Return the seconds that the attempt ran; a requeue resets them in Slurm (None).

    Slurm counts from the start of the job, and the attempt may have been started in it later.
    """
    if attribution.requeued or case.end.run_time is None:
        return None
    return max(0, case.end.run_time - _in_place(case).seconds)


def _end_event(
    case: EndCase, attribution: Attribution, decision: Decision, progress: Progress
) -> EndEvent:
    return EndEvent(
        at=case.now,
        submit_time=case.end.submit_time,
        restarts=case.index + attribution.requeued,
        requeued=attribution.requeued,
        category=attribution.category,
        rule=attribution.rule,
        action=decision.action,
        reason=decision.reason,
        attempt=progress.attempt,
        progress=decision.progress,
        from_step=progress.from_step,
        step=progress.step,
        unit=progress.unit,
        root=attribution.root_hash,
        run_time=_run_time(case, attribution),
        num_nodes=len(case.end.nodes) or case.job.num_nodes,
        nodes=case.end.nodes,
        start_at=case.now + decision.delay,
        failures=decision.failures,
        total=decision.total,
        source=case.source,
        exit_code=case.end.exit_code,
        last_chance=decision.last_chance,
        fall_back=decision.fall_back,
        in_place=_in_place(case) if _in_place(case).restarts else None,
    )
