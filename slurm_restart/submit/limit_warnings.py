"""Warn of a submitted job that waits on a limit, which Slurm accepts silently.

Slurm names the limit as the job's reason at once: it tries to start a job when it is submitted.
"""

from collections.abc import Iterator, Sequence

from slurm_restart.errors import SlurmError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.submit.submit import SubmittedPhase

_PARTITION = ("PartitionConfig", "PartitionTimeLimit", "PartitionNodeLimit")
"""The first is Slurm's answer at once, the others that of its scheduler seconds later (22.05)."""
_OF_PARTITION = (
    "its partition does not allow its time limit or its number of nodes, so it never starts as it "
    "is: compare `scontrol show partition`, and give a shorter --time, fewer nodes or another "
    "partition"
)
_LIMITED = ("QOS", "Assoc")
"""How the reasons begin that name a limit of a QOS or an association."""
_OF_NODES = "Node"
_FOR_EACH_JOB = "PerJob"


def limit_warnings(done: Sequence[SubmittedPhase], slurm: Slurm) -> Iterator[str]:
    """Yield a warning for the first phase if it waits on a limit; later phases wait for it.

    Args:
        done: the submitted phases.
        slurm: the cluster; nothing follows if it does not answer.
    """
    first = done[0]
    try:
        reason = slurm.job(int(first.job_id)).reason
    except (SlurmError, ValueError):
        return
    if reason in _PARTITION:
        yield f"job {first.job_id} waits ({reason}): {_OF_PARTITION}"
    elif reason.startswith(_LIMITED) and reason.endswith("Limit"):
        yield f"job {first.job_id} waits ({reason}): {_limited(reason, first)}"


def _limited(reason: str, phase: SubmittedPhase) -> str:
    for_good = _FOR_EACH_JOB in reason
    what = (
        "a limit of its QOS or account for each job, so it never starts as it is"
        if for_good
        else "a limit of its QOS or account is used up; it starts once others have ended, if the "
        "limit allows it at all"
    )
    plan = phase.job.plan
    if _OF_NODES in reason and phase.job.can_shrink and plan.min_nodes < plan.num_nodes:
        return f"{what}; {plan.min_nodes} of its {plan.num_nodes} nodes would do (its minimum)"
    return what
