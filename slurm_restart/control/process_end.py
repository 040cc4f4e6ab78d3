"""Decide what follows from one end and apply it; the hook and the sweep both call this."""

import time
from dataclasses import dataclass, replace

from slurm_restart.control.apply import OperationBatch, apply_operations, end_operations, start_text
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import end_case, run_key
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.journal import Journal, RunKey, export, open_journal, other_runs
from slurm_restart.core.category import Category
from slurm_restart.core.history import History
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, JobEnd, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import Action, EndEvent, EndKey, Event, IntendEvent
from slurm_restart.core.plan_end import EndPlan, plan_end, self_report_for
from slurm_restart.core.slurm_operations import JobUpdate, Operation, Verb
from slurm_restart.errors import CommentRecordError, StateError


@dataclass(frozen=True, kw_only=True)
class EndedJob:
    """The end of one attempt with the facts that the decision rests on."""

    end: JobEnd
    job: Job
    comment_record: CommentRecord
    nodes: tuple[NodeState, ...]
    source: str
    """What found the end: `hook` or `sweep`."""
    stale: bool = False
    """Whether the comment record is known to belong to an earlier attempt."""

    @property
    def run(self) -> RunKey:
        """Key of the run."""
        return run_key(self.end.cluster, self.job, self.comment_record)

    @property
    def key(self) -> EndKey:
        """Key of the end; its attempt is None where the attempt has not reported."""
        self_report = None if self.stale else self_report_for(self.comment_record, self.end)
        return EndKey(
            self.end.submit_time, self_report.attempt if self_report is not None else None
        )


def process_end(controller: Controller, ended: EndedJob) -> bool:
    """Decide about an end, once, and apply the decision; return whether the job is to run again.

    An end that is in the journal already is not decided again: its operations are repeated.

    Raises:
        CommentRecordError: the job has run before under another run id.
        StateError: the journal cannot be used; Slurm was not asked for anything.
    """
    with open_journal(controller.site.state_dir, ended.run) as journal:
        _refuse_forged(controller, ended, journal)
        history = journal.history
        known = None if ended.stale else history.end(ended.key)
        if known is not None and _is_next_attempt(ended.end, known):
            ended, known = replace(ended, stale=True), None
        if known is None:
            restarts = _decide_and_apply(controller, ended, journal)
        else:
            restarts = _repeat_recorded_operations(controller, ended, journal, known)
        publish(controller, journal, ended.run)
    return restarts


def _is_next_attempt(end: JobEnd, known: EndEvent) -> bool:
    """Whether the end belongs to a later attempt that has the SubmitTime of the recorded end.

    A job keeps its SubmitTime while it waits in COMPLETING for a dead node (measured on 22.05), so
    two attempts can share it. A node outside the recorded end's nodes shows a new allocation.
    """
    return bool(known.nodes) and not set(end.nodes) <= set(known.nodes)


def publish(controller: Controller, journal: Journal, key: RunKey) -> None:
    """Copy the journal to the site's export directory, if it has one; log a failure."""
    folder = controller.site.export_dir
    if folder is None:
        return
    try:
        export(journal, folder, key)
    except StateError as error:
        controller.log(key.job_id)(f"the exported copy of the journal was not written: {error}")


def _refuse_forged(controller: Controller, ended: EndedJob, journal: Journal) -> None:
    """Refuse a new run id on a job that has run before: it would give a fresh restart budget."""
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


def _log_plan(log: HookLog, plan: EndPlan) -> None:
    attribution, decision = plan.attribution, plan.decision
    log(
        f"{attribution.category.value} ({attribution.rule}) -> {decision.action.value} "
        f"({decision.rule}): {decision.reason}"
    )
    if attribution.reported:
        log(f"nodes that are not this job's, not excluded: {', '.join(attribution.reported)}")


def _decide_and_apply(controller: Controller, ended: EndedJob, journal: Journal) -> bool:
    log = controller.log(ended.job.job_id)
    plan = _plan(controller, ended, journal.history)
    _log_plan(log, plan)
    now = int(time.time())
    if controller.site.observe:
        journal.append(*(_observed(event) for event in plan.events))
        return False
    batch = end_operations(ended.job.job_id, ended.key, plan, now)
    for refused in apply_operations(controller.slurm, journal, batch, *plan.events):
        log(f"refused by Slurm: {refused}")
    return plan.decision.action.restarts


def _observed(event: Event) -> Event:
    return replace(event, observed=True) if isinstance(event, EndEvent) else event


def _repeat_recorded_operations(
    controller: Controller, ended: EndedJob, journal: Journal, known: EndEvent
) -> bool:
    """Repeat the operations of an end that is in the journal; return whether the job runs again.

    slurmctld loses what it had not saved when it is killed, so Slurm may have lost any of the
    earlier updates. Every operation can be repeated without harm.
    """
    history = journal.history
    log = controller.log(ended.job.job_id)
    if known is not history.ends[-1] or known.observed or controller.site.observe:
        return False
    recorded = _recorded_operations(journal, known)
    if _requeued_despite_leave(ended, known):
        return _end_requeued_job(controller, ended, journal, known)
    operations = _operations_to_repeat(ended.end, known, recorded)
    if operations:
        log("the end is in the journal: its operations are repeated")
        batch = OperationBatch(
            job_id=ended.job.job_id,
            end=known.key,
            operations=operations,
            job_update=_recorded_update(operations, known, history),
        )
        refusals = apply_operations(controller.slurm, journal, batch)
    elif known.action.acts and not recorded:
        log("the journal holds the decision without its operations: decided again")
        plan = _plan(controller, ended, history.without(known.key))
        batch = end_operations(ended.job.job_id, known.key, plan, int(time.time()))
        refusals = apply_operations(controller.slurm, journal, batch, *plan.events)
    else:
        return known.action.restarts
    for refused in refusals:
        log(f"refused by Slurm: {refused}")
    return known.action.restarts


def _requeued_despite_leave(ended: EndedJob, known: EndEvent) -> bool:
    """Whether Slurm has requeued a job that was to stay ended: slurmctld lost the end's record."""
    return known.action is Action.LEAVE and _requeued_since(ended.end, known)


def _requeued_since(end: JobEnd, known: EndEvent) -> bool:
    """Whether the job was requeued after the end was put in the journal."""
    if known.requeued:
        return False
    if end.state is not None:
        return end.state is JobState.PENDING
    return end.restarts > known.restarts


def _end_requeued_job(
    controller: Controller, ended: EndedJob, journal: Journal, known: EndEvent
) -> bool:
    """End a job that Slurm has requeued against the decision; return whether it runs again.

    A completed run is started once more: it ends as success at once, so its dependents can start.
    Any other is cancelled.
    """
    completed = known.category is Category.COMPLETED
    controller.log(ended.job.job_id)(
        "Slurm lost the record of the end and requeued the job: "
        + ("started to end as success" if completed else "cancelled")
    )
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
    batch = OperationBatch(
        job_id=ended.job.job_id,
        end=known.key,
        operations=(operation,),
        job_update=JobUpdate(start_time=now),
    )
    for refused in apply_operations(controller.slurm, journal, batch, again):
        controller.log(ended.job.job_id)(f"refused by Slurm: {refused}")
    return completed


def _recorded_operations(journal: Journal, known: EndEvent) -> tuple[Operation, ...]:
    """Return the first operations that the journal intends for an end, applied or not."""
    for event in journal.events:
        if isinstance(event, IntendEvent) and event.key == known.key:
            return tuple(Operation.from_text(text) for text in event.operations)
    return ()


def _operations_to_repeat(
    end: JobEnd, known: EndEvent, recorded: tuple[Operation, ...]
) -> tuple[Operation, ...]:
    """Return the operations that are due again for an end that is in the journal."""
    if end.stale_running:
        return _for_stale_running(known, recorded)
    if _requeued_since(end, known):
        # The next attempt may be running by now, and a second requeue would kill it.
        return tuple(operation for operation in recorded if operation.verb is not Verb.REQUEUE)
    return recorded


def _for_stale_running(known: EndEvent, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """Return the operations that end a stale RUNNING job whose end is in the journal."""
    if known.action is Action.CANCEL or any(
        operation.verb is Verb.REQUEUE for operation in operations
    ):
        return operations
    if known.action.restarts or known.category is Category.COMPLETED:
        return (Operation(verb=Verb.REQUEUE), *operations)
    return (Operation(verb=Verb.CANCEL),)


def _recorded_update(
    operations: tuple[Operation, ...], known: EndEvent, history: History
) -> JobUpdate:
    """Return the job fields that journaled operations set."""
    ours = {exclusion.node for exclusion in history.exclusions}
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
