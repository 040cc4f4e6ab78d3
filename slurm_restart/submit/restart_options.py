"""Turn restart options, of the command line or of `#CSX` lines, into a layer of settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slurm_restart.submit.argv import GivenOption
from slurm_restart.submit.option import OptionHandling
from slurm_restart.trainer.checkpoint_names import split_path
from slurm_restart.trainer.settings import short_key
from slurm_restart.trainer.settings_files import SettingsLayer

# Option: the key of the settings that it sets. `--checkpoint` sets two, `--health-check` either
# of two.
KEYS: dict[str, tuple[str, ...]] = {
    "max-restarts": ("script", "max_restarts"),
    "min-nodes": ("script", "min_nodes"),
    "run-dir": ("script", "run_dir"),
    "checkpoint-format": ("checkpoint", "format"),
    "checkpoint-complete": ("checkpoint", "complete"),
    "checkpoint-warn-after": ("checkpoint", "warn_after"),
    "checkpoint-saved": ("checkpoint", "saved"),
    "stop-signal": ("stop_signal",),
    "progress": ("progress", "pattern"),
    "progress-file": ("progress", "file"),
    "progress-after": ("progress", "after"),
    "health-check-timeout": ("health_check", "timeout"),
    "health-check-when": ("health_check", "when"),
    "leave-drained": ("leave_drained",),
    "compile-prefetch": ("compile_prefetch",),
    "watchdog": ("watchdog", "mode"),
    "rules": ("rules",),
    "stop-on-repeat": ("policy", "stop_on_repeat"),
    "shrink-after": ("policy", "shrink_after"),
    "give-up-after": ("policy", "give_up_after"),
    "exclude-for": ("policy", "exclude_for"),
    "node-search": ("policy", "node_search"),
    "recovery": ("recovery",),
    "hook": ("hook",),
    "backoff": ("policy", "backoff"),
    "spares": ("spares",),
    "relaunch-min-time": ("policy", "relaunch_min_time"),
}
SCRIPT_ONLY = {
    "max-restarts": "autorestart.max_num_restarts",
    "min-nodes": "autorestart.min_num_csx",
    "run-dir": "model_dir",
}
"""Options that only a batch script has, and the key of a config that says the same."""
_PATHS = ("checkpoint", "checkpoint-complete", "progress-file", "rules", "run-dir")


def restart_options(options: Sequence[GivenOption]) -> list[GivenOption]:
    """Return those of the options that say how to restart."""
    return [given for given in options if given.option.handling is OptionHandling.RESTART]


def restart_layer(options: Sequence[GivenOption], base: Path | None = None) -> SettingsLayer:
    """Return restart options as settings; the last of equal options counts, of --rules all.

    Args:
        options: others are left out.
        base: directory that the files of --rules are relative to; None: they stay relative.
    """
    values: dict[str, Any] = {}
    origins: dict[tuple[str, ...], str] = {}
    for given in restart_options(options):
        for keys, value in _settings(given.option.name, given.value or ""):
            place = values
            for key in keys[:-1]:
                place = place.setdefault(key, {})
            if given.option.name == "rules":
                path = value if base is None or not value else str(base / value)
                place[keys[-1]] = [*place.get(keys[-1], ()), path]
            else:
                place[keys[-1]] = value
            origins[keys] = given.origin
    return SettingsLayer(values=values, where=lambda keys: origins.get(keys, ".".join(keys)))


def _settings(name: str, value: str) -> list[tuple[tuple[str, ...], str | None]]:
    if name in _PATHS and value.startswith("~/"):
        # A shell leaves the ~ in --option=~/x, and there is none that reads #CSX lines.
        value = str(Path(value).expanduser())
    if name == "health-check":
        # A command or ready-made checks: one beside the other if both are given.
        return [(("health_check", short_key("health_check", value)), value)]
    if name == "watchdog" and "=" in value:
        # The pattern comes last, as it may have commas in it.
        others, steps, expression = value.partition("steps=")
        pairs = [part.partition("=") for part in others.split(",") if part.strip()]
        given: list[tuple[tuple[str, ...], str | None]]
        given = [(("watchdog", key.strip()), text.strip()) for key, _, text in pairs]
        return [*given, (("watchdog", "steps"), expression)] if steps else given
    if name != "checkpoint":
        return [(KEYS[name], value)]
    directory, pattern = split_path(value)
    # A pattern of None removes one that was given before: the format has names.
    return [(("checkpoint", "directory"), directory), (("checkpoint", "pattern"), pattern)]
