"""Let the trainer's Python processes print their stacks on SIGABRT, for the watchdog."""

import os
from collections.abc import Mapping

from slurm_restart.trainer.run_plan import RunPlan

VARIABLE = "PYTHONFAULTHANDLER"
"""With it Python prints its stacks on SIGABRT and on signals of a crash, and ends as without it."""


def fault_handler(plan: RunPlan, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variable for the trainer; empty if the watchdog needs none, or the user has one.

    Args:
        plan: the phase.
        env: of the job.
    """
    settings = plan.watchdog
    wanted = settings.faulthandler and settings.ends_runs(restarts=plan.policy is not None)
    return {VARIABLE: "1"} if wanted and VARIABLE not in env else {}
