"""What shows the progress of a run without known checkpoints: settings, problems and notices."""

from pathlib import Path

from slurm_restart.logs.patterns import danger
from slurm_restart.trainer.run_plan import ProgressMeasure, RunPlan
from slurm_restart.trainer.settings import Settings

MINUTE, HOUR = 60, 3600
_KEYS = ("pattern", "file", "after")


def progress_measure(settings: Settings, work_dir: Path, model_dir: Path) -> ProgressMeasure:
    """Return the measure that the settings give.

    Args:
        settings: of the submission.
        work_dir: the job's directory, absolute.
        model_dir: what `{model_dir}` stands for, absolute.
    """
    file = settings.progress_file
    if file is not None:
        file = str(work_dir / file.replace("{model_dir}", str(model_dir)))
    return ProgressMeasure(
        pattern=settings.progress_pattern, file=file, after=settings.progress_after
    )


def progress_problems(settings: Settings) -> list[str]:
    """Return why the pattern cannot be used: searching for it may take very long on some line."""
    pattern = settings.progress_pattern
    reason = None if pattern is None else danger(pattern)
    return [] if reason is None else [f"{_place(settings, 'pattern')}: {pattern!r}: {reason}"]


def progress_warnings(plan: RunPlan, settings: Settings) -> list[str]:
    """Return a warning for each given measure that is not used."""
    given = [key for key in _KEYS if getattr(plan.progress, key) is not None]
    if plan.is_measured:
        return [
            f"{_place(settings, key)}: not used beside {_place(settings, given[0])}"
            for key in given[1:]
        ]
    # With a known checkpoint interval the steps in the output show that a checkpoint is overdue.
    unused = [key for key in given if not (key == "pattern" and plan.checkpoint_steps)]
    return [
        f"{_place(settings, key)}: not used, as the checkpoints of the run show its progress"
        for key in unused
    ]


def _place(settings: Settings, key: str) -> str:
    return settings.origins.get(f"progress_{key}", f"progress.{key}")


def describe_progress(plan: RunPlan) -> str:
    """Return what counts as progress of a run, as a clause without a full stop."""
    if not plan.is_measured:
        return "a new complete checkpoint"
    measure = plan.progress
    if measure.pattern is not None:
        return "a step in the output beyond all earlier ones"
    if measure.file is not None:
        return f"growth of {measure.file}"
    return f"an attempt that lasts longer than {format_duration(plan.progress_after)}"


def format_duration(seconds: int) -> str:
    """Return a duration for people: `1 h`, `90 min`, `45 s`."""
    if seconds % HOUR == 0:
        return f"{seconds // HOUR} h"
    return f"{seconds // MINUTE} min" if seconds % MINUTE == 0 else f"{seconds} s"
