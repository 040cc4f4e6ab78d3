"""The reconciler: verify what was decided, fit pending jobs, and find ends that were missed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slurm_restart.control.adjust_pending import PendingJob, adjust_pending
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import end_from_record, run_key
from slurm_restart.control.journal import open_journal
from slurm_restart.control.process_end import EndedJob, process_end
from slurm_restart.control.propagate_exclusions import propagate_exclusions
from slurm_restart.core.history import EndKey, History, StaleRunningEvent
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord, is_managed, parse_comment
from slurm_restart.errors import CsxError, SlurmUnavailableError


@dataclass(kw_only=True)
class Sweep:
    """What a sweep has seen and done."""

    managed: int = 0
    missed: int = 0
    """Ends that no hook had judged."""
    pending: int = 0
    stale_running: int = 0
    """Jobs shown RUNNING whose trainer had ended."""
    problems: int = 0


@dataclass(frozen=True, kw_only=True)
class _ManagedJob:
    """One managed job in a sweep."""

    controller: Controller
    job: Job
    comment_record: CommentRecord
    nodes: tuple[NodeState, ...]
    jobs: Sequence[Job]

    def history(self) -> History:
        """The run's history so far."""
        key = run_key(self.controller.cluster, self.job, self.comment_record)
        with open_journal(self.controller.site.state_dir, key) as journal:
            return journal.history


def sweep(controller: Controller) -> Sweep:
    """Look at every managed job once. What goes wrong with one job does not stop the others.

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
            _look_at(
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


def _look_at(look: _ManagedJob, result: Sweep) -> None:
    match look.job.state:
        case JobState.PENDING:
            result.pending += 1
            _look_at_pending(look, result)
        case JobState.RUNNING:
            _look_at_running(look, result)
        case JobState.SUSPENDED | None:
            pass
        case _:
            _look_at_ended(look, result)


def _look_at_ended(look: _ManagedJob, result: Sweep) -> None:
    submit_time = look.job.submit_time
    if submit_time is None:
        return
    history = look.history()
    self_report = look.comment_record if look.comment_record.submit == submit_time else None
    known = history.end(
        EndKey(submit_time, self_report.attempt if self_report is not None else None)
    )
    if known is not None and (known.observed or not known.action.restarts):
        return
    # An end that was requeued is over, so what Slurm shows as ended now is another one, of an
    # attempt that had no time to say anything: its digest is still the one of the attempt before.
    another = known is not None and history.settled == known.key
    if known is None or another:
        result.missed += 1
    _judge_record(look, submit_time, stale=another)


def _judge_record(
    look: _ManagedJob, submit_time: int, *, stale_running: bool = False, stale: bool = False
) -> bool:
    """Judge an end from the job's whole record; the job may have changed since it was listed."""
    job = look.controller.slurm.job(look.job.job_id)
    if job.completing or job.state is not look.job.state:
        return False
    end = end_from_record(look.controller.cluster, job, look.nodes, submit_time=submit_time)
    if stale_running:  # Slurm knows no end: the exit code is the one that the job has told
        end = replace(end, state=None, stale_running=True, exit_code=look.comment_record.exit or 0)
    ended = EndedJob(
        end=end,
        job=job,
        comment_record=look.comment_record,
        nodes=look.nodes,
        source="sweep",
        stale=stale,
    )
    return process_end(look.controller, ended)


def _look_at_pending(look: _ManagedJob, result: Sweep) -> None:
    self_report, history = look.comment_record, look.history()
    missed = (
        self_report.attempt is not None
        and self_report.submit is not None
        and self_report.submit != look.job.submit_time
        and history.end(EndKey(self_report.submit, self_report.attempt)) is None
    )
    if missed and self_report.submit is not None:
        result.missed += 1
        _judge_record(look, self_report.submit)
    job = look.controller.slurm.job(look.job.job_id)
    if job.state is not JobState.PENDING or job.completing:
        return
    due = adjust_pending(
        look.controller, PendingJob(job=job, comment_record=look.comment_record, nodes=look.nodes)
    )
    if due is not None:
        propagate_exclusions(look.controller, job, look.comment_record, look.jobs)


def _look_at_running(look: _ManagedJob, result: Sweep) -> None:
    """A job whose trainer has ended but that Slurm shows RUNNING has lost its end.

    It happens when slurmctld is killed before it has saved the end: the job comes back without a
    process (measured). A requeue heals it in both cases: a finished run ends as success at once.
    """
    self_report, submit_time = look.comment_record, look.job.submit_time
    if submit_time is None or self_report.submit != submit_time:
        return
    key = run_key(look.controller.cluster, look.job, self_report)
    now = int(time.time())
    with open_journal(look.controller.site.state_dir, key) as journal:
        # The word may be lost as well, where the hook had put the end on record.
        if not self_report.ended and not _ended_since(look, journal.history):
            return
        seen, started = journal.history.stale_running, look.job.start_time or 0
        # An attempt may start under the SubmitTime and the word of the one before.
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
    if now - seen.at < look.controller.site.limits.stale_running_after:
        return
    result.stale_running += 1
    look.controller.log(look.job.job_id)("RUNNING although its trainer has ended: requeued")
    _judge_record(look, submit_time, stale_running=True)


def _ended_since(look: _ManagedJob, history: History) -> bool:
    """Whether the attempt that is shown as running has ended, by the journal's own record."""
    self_report, started = look.comment_record, look.job.start_time
    return any(
        (end.submit_time, end.attempt) == (self_report.submit, self_report.attempt)
        and started is not None
        and end.at >= started
        for end in history.ends
    )
