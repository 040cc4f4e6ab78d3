"""Checkpoints below a URL: problems of their settings, and what a user is told of them."""

from slurm_restart.logs.patterns import danger
from slurm_restart.trainer.near_names import describe_line
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.settings import Settings


def remote_problems(settings: Settings, plan: RunPlan) -> list[str]:
    """Return what is wrong with the settings of checkpoints below a URL, each with its place."""
    problems = []
    saved, complete = settings.checkpoint_saved, settings.checkpoint_complete
    if saved is not None:
        place = settings.origins.get("checkpoint_saved", "checkpoint.saved")
        if (reason := danger(saved)) is not None:
            problems.append(f"{place}: {saved!r}: {reason}")
        if not plan.checkpoint.is_remote:
            got = plan.checkpoint.directory
            problems.append(f"{place}: expected checkpoints below a URL, got {got!r}")
    if complete is not None and plan.checkpoint.is_remote:
        place = settings.origins.get("checkpoint_complete", "checkpoint.complete")
        problems.append(
            f"{place}: expected no marker, as nothing below a URL is read, got {complete!r}"
        )
    return problems


def remote_notes(plan: RunPlan) -> list[str]:
    """Return what is known of checkpoints below a URL, as one line; none for others."""
    layout = plan.checkpoint
    if not layout.is_remote or plan.mode.is_evaluation:
        return []
    line = describe_line(layout)
    known = f"nothing in {layout.directory} is read: each {line} in the output shows a checkpoint"
    return [f"{known}; what was there before the run is not used"]
