"""The watchdog of a submission: its settings and their problems."""

from dataclasses import fields

from slurm_restart.core.watchdog_settings import WatchdogSettings
from slurm_restart.logs.patterns import danger
from slurm_restart.trainer.settings import Settings


def watchdog_settings(settings: Settings) -> WatchdogSettings:
    """Return what the settings give; the rest has the defaults."""
    names = [field.name for field in fields(WatchdogSettings) if field.name != "unknown"]
    values = {name: getattr(settings, f"watchdog_{name}") for name in names}
    return WatchdogSettings(**{key: value for key, value in values.items() if value is not None})


def watchdog_problems(settings: Settings) -> list[str]:
    """Return why the pattern cannot be used: searching for it may take very long on some line."""
    pattern = settings.watchdog_steps
    reason = None if pattern is None else danger(pattern)
    if reason is None:
        return []
    return [f"{settings.origins.get('watchdog_steps', 'watchdog.steps')}: {pattern!r}: {reason}"]
