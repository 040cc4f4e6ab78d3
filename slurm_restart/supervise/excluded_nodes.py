"""Leave an allocation with nodes that the run excludes: Slurm requeued the job without asking it.

After the death of a batch host nobody tells Slurm which nodes the job avoids, until an attempt of
the run ends in an orderly way. This one does so at once, uncounted, and starts no program.
"""

import time
from collections.abc import Mapping

from slurm_restart.core.category import Category
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
    plan: RunPlan, run_dir: RunDir, attempt: AttemptDir, job: JobEnvironment
) -> None:
    """Raise an error if the allocation has nodes that the run excludes.

    Not where Slurm was told of the exclusions before, and was not asked to keep to them as it has
    no others; and once in a row.

    Raises:
        ExcludedNodesError: it has, and the job is to be requeued without them.
        OSError: the records cannot be read.
    """
    earlier = [entry for entry in run_dir.attempts() if entry.number < attempt.number]
    if not earlier or job.in_place:
        return
    last, asked = earlier[-1].end(), earlier[-1].requeue()
    if last is None or last.rule == RULE or (asked is not None and asked.done):
        return
    excluded = history_of(plan, earlier, job.job_id).excluded(time.time())
    found = {entry.node: entry.evidence for entry in excluded if entry.node in job.nodes}
    if found:
        raise ExcludedNodesError(found)
