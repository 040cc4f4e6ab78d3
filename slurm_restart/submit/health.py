"""How the nodes of a job are checked: from the settings, with warnings about what has no effect."""

from slurm_restart.core.node_answers import CheckTime
from slurm_restart.trainer.health_check import DEFAULT_TIMEOUT, HealthCheck
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.settings import Settings


def health_check(settings: Settings) -> HealthCheck:
    """Return the check that the settings give."""
    timeout = settings.health_check_timeout
    return HealthCheck(
        checks=settings.health_check_checks or (),
        command=settings.health_check_command,
        timeout=DEFAULT_TIMEOUT if timeout is None else timeout,
        when=settings.health_check_when or CheckTime.AUTO,
    )


def health_warnings(plan: RunPlan, settings: Settings) -> list[str]:
    """Return a warning for each setting of the nodes' health that has no effect."""
    warnings = []
    if not plan.health_check.is_given:
        for key in ("timeout", "when"):
            place = settings.origins.get(f"health_check_{key}")
            if place is not None:
                warnings.append(f"{place}: not used, as no health check is given")
    if plan.leave_drained and (plan.is_measured or plan.mode.is_evaluation):
        place = settings.origins.get("leave_drained", "leave_drained")
        warnings.append(f"{place}: not used, as the run is not known to write checkpoints")
    return warnings
