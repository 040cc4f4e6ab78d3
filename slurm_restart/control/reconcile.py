"""The reconciler: verify decisions, adjust pending jobs, and find ends that no hook processed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slurm_restart.control.adjust_pending import PendingJob, adjust_pending
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import end_from_record, run_key
from slurm_restart.control.journal import open_journal
from slurm_restart.control.process_end import EndedJob, process_end
from slurm_restart.control.propagate_exclusions import propagate_exclusions
from slurm_restart.core.history import History
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord, is_managed, parse_comment
from slurm_restart.core.journal_events import EndKey, StaleRunningEvent
from slurm_restart.errors import CsxError, SlurmUnavailableError


@dataclass(kw_only=True)
class Sweep:
    """Counts of one sweep: jobs by what was found and done."""

    managed: int = 0
    missed: int = 0
    """Ends that no hook had processed."""
    pending: int = 0
    stale_running: int = 0
    """Jobs shown RUNNING whose trainer had ended."""
    problems: int = 0
    """Jobs that could not be processed; the log has the reasons."""


@dataclass(frozen=True, kw_only=True)
class _ManagedJob:
    """One managed job in a sweep, with all nodes and jobs."""

    controller: Controller
    job: Job
    comment_record: CommentRecord
    nodes: tuple[NodeState, ...]
    jobs: Sequence[Job]

    def history(self) -> History:
        """Return the run's history from its journal."""
        key = run_key(self.controller.cluster, self.job, self.comment_record)
        with open_journal(self.controller.site.state_dir, key) as journal:
            return journal.history


def sweep(controller: Controller) -> Sweep:
    """Process every managed job once. A problem with one job does not stop the others.

    Raises:
        SlurmUnavailableError: the controller does not answer.
    """
    jobs, nodes = controller.slurm.jobs(), controller.slurm.nodes()
    result = Sweep()
    for job in jobs:
        if job.is_array or not is_managed(job.comment) or job.completing:
            continue
        result.managed += 1
        try:
            comment_record = parse_comment(job.comment)
            _sweep_job(
                _ManagedJob(
                    controller=controller,
                    job=job,
                    comment_record=comment_record,
                    nodes=nodes,
                    jobs=jobs,
                ),
                result,
            )
        except SlurmUnavailableError:
            raise
        except CsxError as error:
            result.problems += 1
            controller.log(job.job_id)(f"sweep: {type(error).__name__}: {error}")
    return result


def _sweep_job(managed: _ManagedJob, result: Sweep) -> None:
    match managed.job.state:
        case JobState.PENDING:
            result.pending += 1
            _sweep_pending(managed, result)
        case JobState.RUNNING:
            _sweep_running(managed, result)
        case JobState.SUSPENDED | None:
            pass
        case _:
            _sweep_ended(managed, result)


def _sweep_ended(managed: _ManagedJob, result: Sweep) -> None:
    submit_time = managed.job.submit_time
    if submit_time is None:
        return
    history = managed.history()
    self_report = managed.comment_record if managed.comment_record.submit == submit_time else None
    known = history.end(
        EndKey(submit_time, self_report.attempt if self_report is not None else None)
    )
    if known is not None and (known.observed or not known.action.restarts):
        return
    # The recorded end was requeued, so what Slurm shows as ended now is the end of a later attempt,
    # which ended before it could report: its comment record is still that of the attempt before.
    another = known is not None and history.carried_out == known.key
    if known is None or another:
        result.missed += 1
    _process_record(managed, submit_time, stale=another)


def _process_record(
    managed: _ManagedJob, submit_time: int, *, stale_running: bool = False, stale: bool = False
) -> bool:
    """Process an end from the job's full record; return whether the job runs again.

    The job is queried again, and left alone if its state has changed since it was listed.
    """
    job = managed.controller.slurm.job(managed.job.job_id)
    if job.completing or job.state is not managed.job.state:
        return False
    end = end_from_record(managed.controller.cluster, job, managed.nodes, submit_time=submit_time)
    if stale_running:  # Slurm has no record of the end: the exit code is the reported one
        end = replace(
            end, state=None, stale_running=True, exit_code=managed.comment_record.exit or 0
        )
    ended = EndedJob(
        end=end,
        job=job,
        comment_record=managed.comment_record,
        nodes=managed.nodes,
        source="sweep",
        stale=stale,
    )
    return process_end(managed.controller, ended)


def _sweep_pending(managed: _ManagedJob, result: Sweep) -> None:
    self_report, history = managed.comment_record, managed.history()
    missed = (
        self_report.attempt is not None
        and self_report.submit is not None
        and self_report.submit != managed.job.submit_time
        and history.end(EndKey(self_report.submit, self_report.attempt)) is None
    )
    if missed and self_report.submit is not None:
        result.missed += 1
        _process_record(managed, self_report.submit)
    job = managed.controller.slurm.job(managed.job.job_id)
    if job.state is not JobState.PENDING or job.completing:
        return
    due = adjust_pending(
        managed.controller,
        PendingJob(job=job, comment_record=managed.comment_record, nodes=managed.nodes),
    )
    if due is not None:
        propagate_exclusions(managed.controller, job, managed.comment_record, managed.jobs)


def _sweep_running(managed: _ManagedJob, result: Sweep) -> None:
    """Process a stale RUNNING job: its trainer has ended, but Slurm shows it RUNNING.

    slurmctld was killed before it had saved the end, and restored the job without a process
    (measured). A requeue repairs this; a run that had completed then ends as success at once.
    """
    self_report, submit_time = managed.comment_record, managed.job.submit_time
    if submit_time is None or self_report.submit != submit_time:
        return
    key = run_key(managed.controller.cluster, managed.job, self_report)
    now = int(time.time())
    with open_journal(managed.controller.site.state_dir, key) as journal:
        # The final report may be lost as well, although the hook has put the end in the journal.
        if not self_report.ended and not _ended_since(managed, journal.history):
            return
        seen, started = journal.history.stale_running, managed.job.start_time or 0
        # An attempt may start with the SubmitTime and the comment record of the one before.
        if (
            seen is None
            or seen.key != EndKey(submit_time, self_report.attempt)
            or seen.at < started
        ):
            stale_running = StaleRunningEvent(
                at=now, submit_time=submit_time, attempt=self_report.attempt
            )
            journal.append(stale_running)
            return
    if now - seen.at < managed.controller.site.limits.stale_running_after:
        return
    result.stale_running += 1
    managed.controller.log(managed.job.job_id)(
        "Slurm shows the job RUNNING although its trainer has ended"
    )
    _process_record(managed, submit_time, stale_running=True)


def _ended_since(managed: _ManagedJob, history: History) -> bool:
    """Whether the journal holds an end of the attempt that Slurm shows as RUNNING."""
    self_report, started = managed.comment_record, managed.job.start_time
    return any(
        (end.submit_time, end.attempt) == (self_report.submit, self_report.attempt)
        and started is not None
        and end.at >= started
        for end in history.ends
    )
