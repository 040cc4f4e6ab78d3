"""Judge the end of an attempt in its own job, where no hook does, by the rules of the hook."""

from dataclasses import replace

from slurm_restart.core.history import History
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.job import Job, JobEnd, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord, in_place_fields
from slurm_restart.core.judge_end import EndCase, Judgement, judge_end
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.frozen import frozen

SOURCE = "supervisor"


@frozen
class OwnEnd:
    """An attempt that has ended, as its own job knows it."""

    attempt: int
    restarts: int
    """Slurm's restart count while it ran."""
    nodes: tuple[str, ...]
    exit_code: int
    by_itself: bool
    """Whether its program had ended before the job was imposed to end."""
    report: CommentRecord
    """The policy of the run, and what the supervisor reports of this attempt."""
    named: tuple[str, ...] = ()
    """The nodes that the evidence names."""


def is_requeued(job: Job, restarts: int) -> bool:
    """Return whether Slurm, or a person, has requeued the job since an attempt began.

    Args:
        job: as Slurm shows it.
        restarts: its restart count while the attempt ran.
    """
    return job.state is JobState.PENDING or job.restarts > restarts


def judge_own_end(
    own: OwnEnd,
    job: Job,
    nodes: tuple[NodeState, ...],
    history: History,
    *,
    site: SitePolicy,
    now: int,
) -> Judgement:
    """Judge the end of an attempt.

    Args:
        own: the end.
        job: what Slurm shows of the job now.
        nodes: what it shows of all nodes.
        history: the attempts before, those in the same allocation too.
        site: the limits.
        now: epoch seconds.
    """
    report = replace(
        own.report,
        attempt=own.attempt,
        submit=own.attempt,
        ended=True,
        # `history` has the ends before in the allocation one by one.
        **in_place_fields(InPlaceEnds(seconds=own.report.in_place_seconds)),
    )
    return judge_end(
        EndCase(
            end=_job_end(own, job, nodes),
            job=job,
            comment_record=report,
            named=own.named,
            nodes=nodes,
            history=history,
            site=site,
            now=now,
            index=own.restarts,
            source=SOURCE,
        )
    )


def _job_end(own: OwnEnd, job: Job, nodes: tuple[NodeState, ...]) -> JobEnd:
    mine = [node for node in nodes if node.name in own.nodes]
    running = job.running
    # As in the hook's environment, where a job that is cancelled or requeued shows 0:0.
    imposed = not running and not (own.by_itself and is_requeued(job, own.restarts))
    preempted = job.preempt_time is not None and job.preempt_time >= (job.start_time or 0)
    return JobEnd(
        cluster="",
        job_id=job.job_id,
        uid=job.uid,
        # It only has to differ between attempts, and to be that of the report.
        submit_time=own.attempt,
        exit_code=0 if imposed else own.exit_code,
        signal=0,
        reason="" if running else job.reason,
        state=None if running else job.state,
        restarts=job.restarts,
        flags=frozenset() if running else job.flags,
        preempted=preempted and not running,
        reserved=job.reservation is not None,
        nodes=own.nodes,
        time_limit=job.time_limit,
        run_time=job.run_time,
        down_nodes=tuple(node for node in mine if node.down),
        drained=any(node.drained for node in mine),
    )
