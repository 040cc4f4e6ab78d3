"""The reconciler: advance every managed job of the cluster once."""

import time
from dataclasses import dataclass

from slurm_restart.control.advance import advance
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import run_key
from slurm_restart.control.end_queue import read_end, remove_end
from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.control.journal import open_journal
from slurm_restart.control.observe import Snapshot
from slurm_restart.control.prune import prune
from slurm_restart.control.state_dir import birth
from slurm_restart.core.attempt_stage import reports_end
from slurm_restart.core.history import History
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, is_managed, parse_comment
from slurm_restart.errors import CommentRecordError, CsxError, SlurmUnavailableError


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
    removed: int = 0
    """Journals removed as old, once an hour."""


def sweep(controller: Controller) -> Sweep:
    """Advance every managed job once. A problem with one job does not stop the others.

    Raises:
        SlurmUnavailableError: the controller does not answer.
        StateError: the state directory cannot be used.
    """
    born = birth(controller.site.state_dir)
    snapshot = Snapshot(controller=controller)
    result = Sweep()
    snapshot.nodes()
    jobs = snapshot.jobs()
    for job in jobs:
        # While a job is COMPLETING its hook runs.
        if job.is_waiting_array or not is_managed(job.comment) or job.completing:
            continue
        result.managed += 1
        result.pending += job.state is JobState.PENDING
        try:
            _sweep_job(snapshot, job, result, born)
        except SlurmUnavailableError:
            raise
        except CsxError as error:
            result.problems += 1
            log = controller.log(job.job_id)
            log.once(type(error).__name__.lower(), f"sweep: {type(error).__name__}: {error}")
    result.removed = _prune(controller, {job.job_id for job in jobs})
    return result


def _prune(controller: Controller, known_jobs: set[int]) -> int:
    site = controller.site
    return prune(
        site.state_dir,
        site.export_dir,
        known_jobs,
        time.time(),
        site.keep_journals,
        cluster=controller.cluster,
    )


def _sweep_job(snapshot: Snapshot, job: Job, result: Sweep, born: int) -> None:
    controller = snapshot.controller
    record = parse_comment(job.comment)
    if record.self_requeue:
        return
    before = _history(controller, job, record)
    if _at_rest(job, record, before):
        return
    hook = _queued_end(controller, job, record)
    advance(controller, job.job_id, hook=hook, listed=job, snapshot=snapshot, born=born)
    after = _history(controller, job, record)
    found = after.ends[len(before.ends) :]
    if hook is not None and found:
        remove_end(controller.site.state_dir, hook)
    result.missed += len(found)
    result.stale_running += sum(job.state is JobState.RUNNING for _ in found)


def _queued_end(controller: Controller, job: Job, record: CommentRecord) -> HookEnvironment | None:
    """Return the end of the run that its hook has written down and nobody has judged.

    Only it has the nodes of an attempt whose job is pending again.
    """
    end = read_end(controller.site.state_dir, job.job_id, cluster=controller.cluster)
    if end is None or (end.uid, end.array_task_id) != (job.uid, job.array_task_id):
        return None
    try:
        return end if parse_comment(end.comment).run == record.run else None
    except CommentRecordError:
        return None


def _history(controller: Controller, job: Job, record: CommentRecord) -> History:
    key = run_key(controller.cluster, job, record)
    with open_journal(controller.site.state_dir, key) as journal:
        return journal.history


def _at_rest(job: Job, record: CommentRecord, history: History) -> bool:
    """Whether the journal shows, without a further query, that nothing is left to do for a job."""
    submit, started, final = job.submit_time, history.started, history.final
    if job.state is JobState.RUNNING:
        reported = reports_end(record, job)
        ended = any(
            end.submit_time == submit and end.at >= (job.start_time or 0) for end in history.ends
        )
        stopped = bool(history.ends) and not history.ends[-1].action.restarts
        same = started is not None and started.submit_time == submit
        hostless = job.batch_host is not None and job.batch_host not in job.nodes
        return same and not (reported or ended or stopped or hostless)
    if job.state is None or not job.state.is_final or final is None or not history.ends:
        return False
    return final.at >= history.ends[-1].at and final.submit_time == submit
