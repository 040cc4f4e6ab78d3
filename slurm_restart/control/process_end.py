"""Judge one end and act on it: the same for the hook and for the reconciler's sweep."""

import time
from dataclasses import dataclass, replace

from slurm_restart.control.apply import OperationBatch, apply_operations, end_operations, start_text
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import end_case, run_key
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.journal import Journal, RunKey, export, open_journal, other_runs
from slurm_restart.core.category import Category
from slurm_restart.core.history import Action, EndEvent, EndKey, Event, History, IntendEvent
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, JobEnd, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.operations import JobUpdate, Operation, Verb
from slurm_restart.core.plan_end import EndPlan, plan_end, self_report_for
from slurm_restart.errors import CommentRecordError, StateError


@dataclass(frozen=True, kw_only=True)
class EndedJob:
    """An end with the facts around it."""

    end: JobEnd
    job: Job
    comment_record: CommentRecord
    nodes: tuple[NodeState, ...]
    source: str
    """Who found it: hook or sweep."""
    stale: bool = False
    """The digest is known to speak of an earlier attempt."""

    @property
    def run(self) -> RunKey:
        """What names the run."""
        return run_key(self.end.cluster, self.job, self.comment_record)

    @property
    def key(self) -> EndKey:
        """What names the end."""
        self_report = None if self.stale else self_report_for(self.comment_record, self.end)
        return EndKey(
            self.end.submit_time, self_report.attempt if self_report is not None else None
        )


def process_end(controller: Controller, ended: EndedJob) -> bool:
    """Judge an end, once, and act; returns whether the job is to run again.

    Raises:
        CommentRecordError: the job has run before under another run id.
        StateError: the journal cannot be used; nothing was done.
    """
    log = controller.log(ended.job.job_id)
    with open_journal(controller.site.state_dir, ended.run) as journal:
        if journal.damaged:
            log(f"{journal.path}: unreadable lines {journal.damaged[:10]} are passed over")
        _refuse_forged(controller, ended, journal)
        history = journal.history
        known = None if ended.stale else history.end(ended.key)
        if known is not None and _is_another(ended.end, known):
            ended, known = replace(ended, stale=True), None
        if known is None:
            restarts = _judge_and_act(controller, ended, journal)
        else:
            restarts = _repeat_recorded(controller, ended, journal, known)
        publish(controller, journal, ended.run)
    return restarts


def _is_another(end: JobEnd, known: EndEvent) -> bool:
    """Whether an attempt that has said nothing ended under the SubmitTime of the one before.

    A job keeps its SubmitTime while it waits in COMPLETING for a dead node (measured on 22.05),
    and it cannot have been given that node again.
    """
    return bool(known.nodes) and not set(end.nodes) <= set(known.nodes)


def publish(controller: Controller, journal: Journal, key: RunKey) -> None:
    """Put the public copy of a journal where the site wants it; a failure is only told."""
    folder = controller.site.export_dir
    if folder is None:
        return
    try:
        export(journal, folder, key)
    except StateError as error:
        controller.log(key.job_id)(f"no public copy: {error}")


def _refuse_forged(controller: Controller, ended: EndedJob, journal: Journal) -> None:
    if ended.end.restarts > 0 and not journal.events:
        others = other_runs(controller.site.state_dir, ended.run)
        if others:
            raise CommentRecordError(
                f"the run id changed from {others[0]} to {ended.comment_record.run}"
            )


def _plan(controller: Controller, ended: EndedJob, history: History) -> EndPlan:
    return plan_end(
        end_case(
            ended.end,
            ended.job,
            ended.comment_record,
            ended.nodes,
            slurm=controller.slurm,
            history=history,
            site=controller.site,
            now=int(time.time()),
            source=ended.source,
            stale=ended.stale,
        )
    )


def _log_plan(log: HookLog, verdict: EndPlan) -> None:
    attribution, decision = verdict.attribution, verdict.decision
    log(
        f"{attribution.category.value} ({attribution.rule}) -> {decision.action.value} "
        f"({decision.rule}): {decision.reason}"
    )
    if attribution.reported:
        log(f"named, but no nodes of this job: {', '.join(attribution.reported)}")


def _judge_and_act(controller: Controller, ended: EndedJob, journal: Journal) -> bool:
    log = controller.log(ended.job.job_id)
    verdict = _plan(controller, ended, journal.history)
    _log_plan(log, verdict)
    now = int(time.time())
    if controller.site.observe:
        journal.append(*(_observed(event) for event in verdict.events))
        return False
    order = end_operations(ended.job.job_id, ended.key, verdict, now)
    for refused in apply_operations(controller.slurm, journal, order, *verdict.events):
        log(f"refused by Slurm: {refused}")
    return verdict.decision.action.restarts


def _observed(event: Event) -> Event:
    return replace(event, observed=True) if isinstance(event, EndEvent) else event


def _repeat_recorded(
    controller: Controller, ended: EndedJob, journal: Journal, known: EndEvent
) -> bool:
    """The end is on record: carry out again what has to come of it.

    Whoever comes here again cannot know what is left of it in Slurm, which loses what it had not
    saved when slurmctld is killed. Each operation can be repeated without harm.
    """
    history = journal.history
    log = controller.log(ended.job.job_id)
    if known is not history.ends[-1] or known.observed or controller.site.observe:
        return False
    operations = _recorded(journal, known)
    if _comes_back(ended, known):
        return _end_again(controller, ended, journal, known)
    if ended.end.stale_running:
        operations = _for_stale_running(known, operations)
    elif _requeued_since(ended.end, known):
        # By the time that it is asked for once more, the next attempt might be running.
        operations = tuple(one for one in operations if one.verb is not Verb.REQUEUE)
    if operations:
        log("the end is on record: carried out again")
        order = OperationBatch(
            job_id=ended.job.job_id,
            end=known.key,
            operations=operations,
            job_update=_recorded_update(operations, known, history),
        )
        wrong = apply_operations(controller.slurm, journal, order)
    elif known.action.acts:
        log("found a verdict without an intent: judged again")
        verdict = _plan(controller, ended, history.without(known.key))
        order = end_operations(ended.job.job_id, known.key, verdict, int(time.time()))
        wrong = apply_operations(controller.slurm, journal, order, *verdict.events)
    else:
        return False
    for refused in wrong:
        log(f"refused by Slurm: {refused}")
    return known.action.restarts


def _comes_back(ended: EndedJob, known: EndEvent) -> bool:
    """Whether Slurm has requeued a job that was to stay ended: it had forgotten the end."""
    return known.action is Action.LEAVE and _requeued_since(ended.end, known)


def _requeued_since(end: JobEnd, known: EndEvent) -> bool:
    """Whether the job was requeued after the end was put on record."""
    if known.requeued:
        return False
    if end.state is not None:
        return end.state is JobState.PENDING
    return end.restarts > known.restarts


def _end_again(controller: Controller, ended: EndedJob, journal: Journal, known: EndEvent) -> bool:
    """Cancel the job, or let it end as success at once, so that dependents live."""
    completed = known.category is Category.COMPLETED
    controller.log(ended.job.job_id)("requeued by Slurm, which had forgotten its end")
    now = int(time.time())
    again = replace(
        known,
        action=Action.ADJUST if completed else Action.CANCEL,
        requeued=True,
        restarts=ended.end.restarts,
        start_at=now,
    )
    start = (("StartTime", start_text(now, now)),)
    operation = (
        Operation(verb=Verb.UPDATE, fields=start) if completed else Operation(verb=Verb.CANCEL)
    )
    order = OperationBatch(
        job_id=ended.job.job_id,
        end=known.key,
        operations=(operation,),
        job_update=JobUpdate(start_time=now),
    )
    for refused in apply_operations(controller.slurm, journal, order, again):
        controller.log(ended.job.job_id)(f"refused by Slurm: {refused}")
    return completed


def _recorded(journal: Journal, known: EndEvent) -> tuple[Operation, ...]:
    """The operations that were intended first for an end, which may be carried out by now."""
    for event in journal.events:
        if isinstance(event, IntendEvent) and event.key == known.key:
            return tuple(Operation.from_text(text) for text in event.operations)
    return ()


def _for_stale_running(known: EndEvent, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """What ends a job that Slurm shows RUNNING again although its end was judged."""
    if known.action is Action.CANCEL or any(one.verb is Verb.REQUEUE for one in operations):
        return operations
    if known.action.restarts or known.category is Category.COMPLETED:
        return (Operation(verb=Verb.REQUEUE), *operations)
    return (Operation(verb=Verb.CANCEL),)


def _recorded_update(
    operations: tuple[Operation, ...], known: EndEvent, history: History
) -> JobUpdate:
    """The values that journaled operations write."""
    ours = {one.node for one in history.exclusions}
    fields = {name: value for operation in operations for name, value in operation.fields}
    number = fields.get("NumNodes", "").partition("-")[0]
    excluded = expand(fields.get("ExcNodeList", ""))
    return JobUpdate(
        exc_nodes=excluded if "ExcNodeList" in fields else None,
        own_nodes=tuple(name for name in excluded if name in ours),
        num_nodes=int(number) if number.isdecimal() else None,
        start_time=known.start_at,
        held=any(operation.verb is Verb.HOLD for operation in operations) or None,
    )
