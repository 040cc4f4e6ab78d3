"""Look at the job once more, right before its program is started in place.

Slurm may have lost a further node of it since the restart was decided on. A step of the attempt
before may be left that Slurm never ends, as a node of it was lost.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

from slurm_restart.core.category import Category
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.choose_nodes import leave_nodes
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.node_health import NodesError
from slurm_restart.supervise.silent_nodes import silent_nodes
from slurm_restart.trainer.run_plan import RunPlan

RULE = "supervisor.node_lost"


class LostNodesError(NodesError):
    """Slurm has lost nodes of the attempt, which cannot start in this allocation without them.

    Args:
        names: the nodes.
    """

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(Category.HARDWARE_NODE, dict.fromkeys(names, "Slurm has lost it"))


def look_again(
    plan: RunPlan,
    job: JobEnvironment,
    slurm: Callable[[], Slurm],
    warn: Callable[[str], None],
) -> JobEnvironment:
    """Return the allocation without lost nodes, and with `step_left` if such a step is left.

    If Slurm does not answer, one may be: steps that share the CPUs for no reason are slower, while
    those that wait for such a step never start.

    Args:
        plan: the phase.
        job: the allocation of the attempt that is about to start.
        slurm: returns the cluster.
        warn: called with a line about lost nodes.

    Raises:
        LostNodesError: the attempt cannot start in this allocation without the lost nodes.
    """
    if not job.in_place or job.job_id is None or not (plan.keeps_allocation or job.unused):
        return job  # Slurm has begun the job anew, or ends it if a node is lost
    try:
        shown = slurm().job(job.job_id)
    except SlurmError:
        return replace(job, step_left=bool(job.unused))
    lost = [name for name in job.nodes if name not in shown.nodes]
    if lost and shown.running and shown.nodes:
        job = leave_nodes(plan, job, LostNodesError(lost), slurm=slurm, warn=warn)
    return replace(job, step_left=bool(job.unused) and _is_step_left(job, shown.nodes, slurm))


def _is_step_left(job: JobEnvironment, held: Collection[str], slurm: Callable[[], Slurm]) -> bool:
    """Return whether a step is shown on a node that is lost or about to be, or may be."""
    try:
        shown = slurm().step_nodes(job.job_id or 0)
        lost = {*shown.difference(held), *silent_nodes(job.unused, slurm())}
    except SlurmError:
        return True
    return not shown.isdisjoint(lost)
