"""Bring one managed job to the state that its journal wants; hook, helper and reconciler call it.

Observe the job, judge an end that is not judged yet, plan, write to the journal, ask Slurm, and
again until nothing is left to ask for. Every step can be interrupted and repeated.
"""

import math
import time
from dataclasses import dataclass

from slurm_restart.control.apply import apply_plan
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import run_key
from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.journal import (
    Journal,
    RunKey,
    export,
    open_journal,
)
from slurm_restart.control.observe import RunContext, Snapshot, observe, require_submit_time
from slurm_restart.control.run_phases import (
    add_earlier_phases,
    concerns_later_phases,
    later_phases,
)
from slurm_restart.core.array_task import run_of_task
from slurm_restart.core.history import History
from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import CommentRecord, parse_comment
from slurm_restart.core.judge_end import Judgement
from slurm_restart.core.plan import RunPlan, plan
from slurm_restart.core.slurm_operations import Verb
from slurm_restart.errors import (
    CommentRecordError,
    CsxError,
    JobNotFoundError,
    SlurmError,
    StateError,
)

MAX_STEPS = 8
"""Plans in a row for one job. Two or three are needed; more would not come to rest."""
RETRY = 5.0
"""Seconds after which a request that Slurm refused is made again."""
CLOCK_SLACK = 60
"""Seconds by which a clock may be set back between the submission of a job and its end."""
VERIFY = 1.0
"""Seconds after which a job is looked at again where each call makes one plan only."""


def advance(
    controller: Controller,
    job_id: int,
    *,
    hook: HookEnvironment | None = None,
    listed: Job | None = None,
    snapshot: Snapshot | None = None,
    born: int = 0,
    steps: int = MAX_STEPS,
) -> float | None:
    """Advance a managed job, and the later phases of its run if its exclusions concern them.

    Args:
        controller: the cluster's controller.
        job_id: the job.
        hook: facts of the end that slurmctld runs the hook for.
        listed: the job as listed; without it and without `hook` it is read once more.
        snapshot: nodes, configuration and jobs that were read for several jobs.
        born: epoch seconds when the state directory was made; ends before are not judged.
        steps: plans in a row at most.

    Returns:
        Epoch seconds when the job has to be looked at again; None: nothing is left to do.

    Raises:
        CommentRecordError: the job has no valid comment record.
        SlurmError: Slurm cannot be read, or refuses the requeue that the hook asks for.
        StateError: the journal cannot be used; Slurm was not asked for anything.
    """
    shared = snapshot or Snapshot(controller=controller)
    record, uid, run = _claimed(controller, job_id, hook, listed)
    if record.self_requeue:
        return None
    key = RunKey(cluster=controller.cluster, job_id=job_id, uid=uid, run=run)
    context = RunContext(hook=hook, born=born, source="hook" if hook is not None else "sweep")
    later = _LaterPhases(shared=shared, uid=uid, record=record)
    look_again, history = _advance_job(shared, key, record, context, later, steps=steps)
    if not later.advanced and concerns_later_phases(history):
        later.advance_or_log(controller.log(job_id))
    return look_again


@dataclass(kw_only=True)
class _LaterPhases:
    """The later phases of a job's run."""

    shared: Snapshot
    uid: int
    record: CommentRecord
    advanced: bool = False

    def advance(self) -> None:
        """Advance those that wait."""
        self.advanced = True  # so that none of them does the same
        cluster = self.shared.controller.cluster
        for job, record in later_phases(self.shared.jobs(self.uid), self.uid, self.record):
            key = run_key(cluster, job, record)
            _advance_job(self.shared, key, record, RunContext(source="sweep"), self)

    def advance_or_log(self, log: HookLog) -> None:
        """Advance those that wait; a failure is no failure of this phase, which is decided."""
        try:
            self.advance()
        except CsxError as error:
            self.advanced = False
            log.once("later-phases", f"later phases: {error}")

    def exclude_first(self, history: History, log: HookLog) -> None:
        """Let them exclude the nodes that this phase excludes, before it may run to its end."""
        if not self.advanced and history.excluded(time.time()):
            self.advance_or_log(log)


def _claimed(
    controller: Controller, job_id: int, hook: HookEnvironment | None, listed: Job | None
) -> tuple[CommentRecord, int, str]:
    """Return the comment record, and uid and run id, which with the job id name the journal."""
    if hook is not None:
        record = parse_comment(hook.comment)
        return record, hook.uid, run_of_task(record.run, hook.array_task_id)
    job = listed or controller.slurm.job(job_id)
    record = parse_comment(job.comment)
    return record, job.uid, run_of_task(record.run, job.array_task_id)


def _advance_job(
    shared: Snapshot,
    key: RunKey,
    claimed: CommentRecord,
    context: RunContext,
    later: _LaterPhases,
    *,
    steps: int = MAX_STEPS,
) -> tuple[float | None, History]:
    controller = shared.controller
    log = controller.log(key.job_id)
    with open_journal(controller.site.state_dir, key) as journal:
        before = len(journal.events)
        look_again = None
        for _ in range(steps):
            # What another process changed before it gave up the lock is no person's act: a job that
            # was read before the journal's last event, in whole seconds, is read again.
            job = shared.read_job(key.job_id, since=journal.last_at + 1)
            require_submit_time(job)
            _require_owner(job, key, context)
            _require_task(job, key, claimed)
            record = _current_record(job, claimed)
            with_phases = add_earlier_phases(shared, job, record, context)
            step = plan(observe(shared, job, record, journal.history, with_phases))
            _log_step(log, step)
            known = journal.history.refused
            refused = apply_plan(
                controller.slurm,
                journal,
                job.name,
                step.end,
                step.plan,
                before_start=lambda: later.exclude_first(journal.history, log),
            )
            look_again = step.plan.look_again
            if refused is not None:
                if refused not in known:
                    log(f"refused by Slurm: {refused}")
                if context.hook is not None and refused.startswith(f"{Verb.REQUEUE.value}:"):
                    # The front requeues the job itself while it is COMPLETING.
                    raise SlurmError(f"job {key.job_id}: {refused}")
                look_again = time.time() + RETRY
            if refused is not None or look_again is not None or not step.plan.operations(""):
                break
        else:
            look_again = time.time() + VERIFY if steps < MAX_STEPS else None
        if len(journal.events) > before:
            publish(controller, journal, key)
        return look_again, journal.history


def _require_owner(job: Job, key: RunKey, context: RunContext) -> None:
    """Raise JobNotFoundError for a job id that Slurm has given to another job since the end.

    slurmctld counts from the start again after it has lost its state, and an end may have waited in
    the queue for longer.
    """
    queued = None if context.hook is None else context.hook.queued_at
    young = job.restarts == 0 and (job.submit_time or 0) > (queued or math.inf) + CLOCK_SLACK
    if job.uid != key.uid or young:
        raise JobNotFoundError(f"job {job.job_id}: Slurm has given the id to another job")


def _require_task(job: Job, key: RunKey, claimed: CommentRecord) -> None:
    """Raise JobNotFoundError for a job id that stands for other tasks of its array now.

    slurmctld, killed before it had saved the start of a task, gives the job id to another, or shows
    the array's id for all tasks that wait. A request for that id would change all of them.
    """
    if run_of_task(claimed.run, job.array_task_id) != key.run:
        raise JobNotFoundError(f"job {job.job_id}: it is another task of its array now")


def _current_record(job: Job, claimed: CommentRecord) -> CommentRecord:
    """Return the job's comment record now; the earlier one if it is gone or of another run.

    Where slurmctld was killed before it had saved the report of an end, it shows an older record
    than it gave to the hook.
    """
    try:
        record = parse_comment(job.comment)
    except CommentRecordError:
        return claimed
    if record.run != claimed.run or _is_older(record, claimed):
        return claimed
    return record


def _is_older(record: CommentRecord, claimed: CommentRecord) -> bool:
    """Whether a record does not hold yet the end that the other one reports."""
    if claimed.attempt is None or not claimed.ended:
        return False
    if record.attempt is None or record.attempt < claimed.attempt:
        return True
    return record.attempt == claimed.attempt and not record.ended


def _log_step(log: HookLog, step: RunPlan) -> None:
    if step.judgement is not None:
        _log_judgement(log, step.judgement)
    for operation in step.plan.operations("…" if step.plan.job_update.exc_nodes else ""):
        log(f"request: {operation}")


def _log_judgement(log: HookLog, judgement: Judgement) -> None:
    attribution, decision = judgement.attribution, judgement.decision
    log(
        f"{attribution.category.value} ({attribution.rule}) -> {decision.action.value} "
        f"({decision.rule}): {decision.reason}"
    )
    if attribution.reported:
        log(f"nodes that are not this job's, not excluded: {', '.join(attribution.reported)}")


def publish(controller: Controller, journal: Journal, key: RunKey) -> None:
    """Copy the journal to the site's export directory, if it has one; log a failure."""
    folder = controller.site.export_dir
    if folder is None:
        return
    try:
        export(journal, folder, key)
    except StateError as error:
        controller.log(key.job_id)(f"the exported copy of the journal was not written: {error}")
