"""Leave an allocation with nodes that the run excludes: Slurm requeued the job without asking it.

After the death of a batch host nobody tells Slurm which nodes the job avoids, until an attempt of
the run ends in an orderly way. This one does so at once, uncounted, and starts no program. So does
the first one of a later phase, which is a job of its own: it was submitted before the exclusions.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from slurm_restart.core.category import Category
from slurm_restart.core.history import Exclusion
from slurm_restart.core.job_comment import parse_comment
from slurm_restart.errors import CsxError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.node_health import NodesError
from slurm_restart.supervise.run_records import history_of
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

RULE = "supervisor.excluded_node"


class ExcludedNodesError(NodesError):
    """The allocation has nodes that the run excludes.

    Args:
        found: why, by node.
    """

    def __init__(self, found: Mapping[str, str]) -> None:
        super().__init__(Category.HEALTH_CHECK, found)


def leave_excluded(
    plan: RunPlan,
    run_dir: RunDir,
    attempt: AttemptDir,
    job: JobEnvironment,
    slurm: Callable[[], Slurm],
) -> None:
    """Raise an error if the allocation has nodes that the run excludes.

    Not where Slurm was told of the exclusions before, and was not asked to keep to them as it has
    no others; and once in a row. Where it is not known whether Slurm was told, as its command was
    killed or got no answer, the nodes that it was asked to exclude show it: an allocation without
    them is as good as told.

    Args:
        plan: the phase.
        run_dir: its directory.
        attempt: the attempt that is about to start.
        job: its allocation.
        slurm: returns the cluster.

    Raises:
        ExcludedNodesError: it has, and the job is to be requeued without them.
        OSError: the records cannot be read.
    """
    earlier = [entry for entry in run_dir.attempts() if entry.number < attempt.number]
    if job.in_place:
        return
    if earlier:
        last, asked = earlier[-1].end(), earlier[-1].requeue()
        if last is None or last.rule == RULE or (asked is not None and asked.done):
            return
        excluded = history_of(plan, earlier, job.job_id).excluded(time.time())
        if asked is not None:
            # The others were let back in, as too few nodes exist without them.
            excluded = tuple(entry for entry in excluded if entry.node in asked.exc_nodes)
    else:
        excluded = _of_earlier_phases(plan, run_dir, job, slurm)
    found = {entry.node: entry.evidence for entry in excluded if entry.node in job.nodes}
    if found:
        raise ExcludedNodesError(found)


def _of_earlier_phases(
    plan: RunPlan, run_dir: RunDir, job: JobEnvironment, slurm: Callable[[], Slurm]
) -> tuple[Exclusion, ...]:
    """Return the exclusions in force of the run's earlier phases, as far as they can be read."""
    if plan.phase == 0 or job.job_id is None:
        return ()
    # Only later phases need it: imported early, it would take memory in all runs.
    from slurm_restart.trainer.submission_record import SubmissionRecord  # noqa: PLC0415

    try:
        phases = SubmissionRecord.load(run_dir.path).phases[: plan.phase]
        found = [entry for phase in phases for entry in _of_phase(RunDir(Path(phase)))]
        if not found:
            return ()
        since = parse_comment(slurm().job(job.job_id).comment).cleared or 0
    except (CsxError, OSError):
        return ()
    return tuple(entry for entry in found if entry.since >= since)


def _of_phase(run_dir: RunDir) -> tuple[Exclusion, ...]:
    attempts = run_dir.attempts()
    starts = [start for entry in attempts if (start := entry.start()) is not None]
    if not starts:
        return ()
    plan = RunPlan.load(run_dir.plan)
    return history_of(plan, attempts, starts[-1].job_id).excluded(time.time())
