"""Settings for submission: check every key, and combine the layers of several files."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from slurm_restart.core.job_comment import MAX_NODES, MAX_RESTARTS
from slurm_restart.core.node_answers import CheckTime
from slurm_restart.core.recovery import HookUse, Recovery
from slurm_restart.core.watchdog_settings import MAX_FACTOR, WatchdogMode
from slurm_restart.errors import UsageError
from slurm_restart.frozen import frozen
from slurm_restart.trainer.checkpoint_forms import FORMS
from slurm_restart.trainer.checkpoint_layout import check_directory
from slurm_restart.trainer.checkpoint_names import to_regex
from slurm_restart.trainer.config_checker import format_value, nearest
from slurm_restart.trainer.duration import parse_duration
from slurm_restart.trainer.health_check import (
    CHECKS,
    MAX_TIMEOUT,
    is_list_of_checks,
    is_misspelt_list,
    parse_checks,
)
from slurm_restart.trainer.launch import check_template
from slurm_restart.trainer.run_plan import STOP_SIGNALS, CheckpointFormat, saved_problem
from slurm_restart.trainer.settings_files import SettingsLayer

OptionValue = str | bool

MAX_WAITS = 20
"""Times in a list of waits."""


@frozen
class OptionSetting:
    """The value of an sbatch option in a settings file; `origin` is `FILE:LINE: key`."""

    value: OptionValue
    origin: str


@frozen
class Settings:
    """The combined layers. None: given in no layer. Times in seconds."""

    sbatch: Mapping[str, OptionSetting] = field(default_factory=dict)
    """sbatch's options by their long name without dashes, not yet checked."""
    site_options: tuple[str, ...] = ()
    """Options of the site's SPANK plugins; with an argument: the name ends with `=`."""
    setup: tuple[str, ...] = ()
    """Shell lines that run in the job before the trainer."""
    command: str | None = None
    rules: tuple[str, ...] = ()
    """Files of rules over log lines; relative to the config's directory."""
    checkpoint_directory: str | None = None
    """Relative to the job's directory, or a URL; `{model_dir}` stands for the run's, and names may
    have `*` in them."""
    checkpoint_pattern: str | None = None
    """As written: a name with `{step}` or `{epoch}`."""
    checkpoint_format: CheckpointFormat | None = None
    checkpoint_complete: str | None = None
    checkpoint_warn_after: int | None = None
    checkpoint_saved: str | None = None
    """Below a URL: a regular expression over lines of output that say that a checkpoint was saved;
    its group `path` is the checkpoint."""
    stop_signal: str | None = None
    """Name, without SIG, of the signal that asks the trainer to save and end."""
    progress_pattern: str | None = None
    """A regular expression over lines of output; its first group is the step."""
    progress_file: str | None = None
    """A file that grows; relative to the job's directory, `{model_dir}` stands for the run's."""
    progress_after: int | None = None
    """An attempt that lasted longer has made progress."""
    health_check_checks: tuple[str, ...] | None = None
    """Ready-made checks of the nodes, with their shares: `memory=30`."""
    health_check_command: str | None = None
    health_check_timeout: int | None = None
    health_check_when: CheckTime | None = None
    leave_drained: bool | None = None
    recovery: Recovery | None = None
    hook: HookUse | None = None
    spares: int | None = None
    """Nodes of the job beside those that an attempt uses."""
    compile_prefetch: bool | None = None
    watchdog_mode: WatchdogMode | None = None
    watchdog_floor: int | None = None
    watchdog_start_floor: int | None = None
    watchdog_compile_floor: int | None = None
    watchdog_typical_factor: int | None = None
    watchdog_longest_factor: int | None = None
    watchdog_busy_factor: int | None = None
    watchdog_slow_factor: int | None = None
    watchdog_slow_after: int | None = None
    watchdog_restart_when_slow: bool | None = None
    watchdog_faulthandler: bool | None = None
    watchdog_steps: str | None = None
    """A regular expression over lines of output; its first group is the step."""
    csx_per_node: int = 1
    stop_on_repeat: int | None = None
    shrink_after: int | None = None
    give_up_after: int | None = None
    exclude_for: int | None = None
    backoff: tuple[int, ...] | None = None
    """Seconds before the first, second, … restart without progress, where no hook requeues."""
    node_search: bool | None = None
    relaunch_min_time: int | None = None
    script_max_restarts: int | None = None
    """For a batch script: restarts in a row without progress."""
    script_min_nodes: int | None = None
    """For a batch script: fewest nodes of a restart."""
    script_run_dir: str | None = None
    """For a batch script: where run directories are made; relative to the job's directory."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """`FILE:LINE: key` of the values that are given, by the name of the field, for messages."""


class _InvalidValueError(Exception):
    """A wrong value; the text is what was expected. Raised and caught in this module only."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _InvalidValueError("text")
    return value


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
            raise _InvalidValueError(f"a whole number from {low} to {high}")
        if not low <= int(value) <= high:
            raise _InvalidValueError(f"a whole number from {low} to {high}")
        return int(value)

    return read


def _duration(value: Any) -> int:
    try:
        return parse_duration(_text(value))
    except ValueError as error:
        raise _InvalidValueError(str(error)) from None


def _check_command(value: Any) -> str:
    text = _text(value)
    if is_misspelt_list(text):
        expected = f"some of {', '.join(CHECKS)}, or a command"
        raise _InvalidValueError(f"{expected} (of this name: by its path)")
    return text


def _command(value: Any) -> str:
    text = _text(value)
    try:
        check_template(text)
    except UsageError as error:
        raise _InvalidValueError(str(error).removeprefix("expected ")) from None
    return text


def _lines(value: Any) -> tuple[str, ...]:
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(
        isinstance(line, str) and "\0" not in line for line in lines
    ):
        raise _InvalidValueError("a list of shell lines, or a block of them")
    return tuple(lines)


def _paths(value: Any) -> tuple[str, ...]:
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(
        isinstance(path, str) and path.strip() and "\0" not in path for path in paths
    ):
        raise _InvalidValueError("a file of rules, or a list of them")
    return tuple(paths)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9-]*=?", name) for name in value
    ):
        raise _InvalidValueError(
            "a list of option names such as container-image= (with an argument)"
        )
    return tuple(value)


def _pattern(value: Any) -> str:
    text = _text(value)
    try:
        to_regex(text)
    except ValueError as error:
        raise _InvalidValueError(str(error)) from None
    return text


def _directory(value: Any) -> str:
    text = _text(value)
    try:
        check_directory(text)
    except ValueError as error:
        raise _InvalidValueError(str(error)) from None
    return text


def _format(value: Any) -> CheckpointFormat:
    for form in FORMS:
        if value == form.value:
            return form
    raise _InvalidValueError(f"one of {', '.join(form.value for form in FORMS)}")


def _stop_signal(value: Any) -> str:
    name = _text(value).upper().removeprefix("SIG")
    if name not in STOP_SIGNALS:
        raise _InvalidValueError(f"one of {', '.join(STOP_SIGNALS)}")
    return name


def _recovery(value: Any) -> Recovery:
    for recovery in Recovery:
        if value == recovery.value:
            return recovery
    raise _InvalidValueError(f"one of {', '.join(recovery.value for recovery in Recovery)}")


def _hook(value: Any) -> HookUse:
    if isinstance(value, bool):  # `yes` and `no` are flags in YAML
        return HookUse.YES if value else HookUse.NO
    for use in HookUse:
        if value == use.value:
            return use
    raise _InvalidValueError(f"one of {', '.join(use.value for use in HookUse)}")


def _durations(value: Any) -> tuple[int, ...]:
    words = value if isinstance(value, list) else _text(value).split(",")
    if not 1 <= len(words) <= MAX_WAITS:
        raise _InvalidValueError(f"1 to {MAX_WAITS} times, such as 30s,2min,5min")
    return tuple(map(_duration, words))


def _complete(value: Any) -> str:
    text = _text(value)
    if "{path}" not in text:
        raise _InvalidValueError("a path with {path} in it, such as {path}.done")
    return text


def _saved_pattern(value: Any) -> str:
    text = _text(value)
    if (problem := saved_problem(text)) is not None:
        raise _InvalidValueError(problem)
    return text


def _step_pattern(value: Any) -> str:
    text = _text(value)
    try:
        # The output is searched as bytes.
        groups = re.compile(text.encode()).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise _InvalidValueError(f"a regular expression ({error})") from None
    if not groups:
        raise _InvalidValueError(r"a regular expression with a group, such as 'step (\d+)'")
    return text


def _watchdog_mode(value: Any) -> WatchdogMode:
    if isinstance(value, bool):  # `on` and `off` are flags in YAML
        return WatchdogMode.ON if value else WatchdogMode.OFF
    for mode in WatchdogMode:
        if value == mode.value:
            return mode
    raise _InvalidValueError(f"one of {', '.join(mode.value for mode in WatchdogMode)}")


def _positive_duration(value: Any) -> int:
    seconds = _duration(value)
    if not seconds:
        raise _InvalidValueError("a time from 1s")
    return seconds


def _checks(value: Any) -> tuple[str, ...]:
    text = ",".join(map(_text, value)) if isinstance(value, list) else _text(value)
    try:
        return parse_checks(text)
    except ValueError as error:
        raise _InvalidValueError(str(error)) from None


def _check_timeout(value: Any) -> int:
    seconds = _positive_duration(value)
    if seconds > MAX_TIMEOUT:
        raise _InvalidValueError(f"a time up to {MAX_TIMEOUT // 3600}h")
    return seconds


def _check_time(value: Any) -> CheckTime:
    try:
        return CheckTime(value)
    except ValueError:
        raise _InvalidValueError(
            f"one of {', '.join(entry.value for entry in CheckTime)}"
        ) from None


def _on_off(value: Any) -> bool:
    if value not in (True, False, "on", "off"):  # `on` and `off` are flags in YAML
        raise _InvalidValueError("one of on, off")
    return value in (True, "on")


def _flag(value: Any) -> bool:
    if value not in (True, False, "true", "false"):
        raise _InvalidValueError("true or false")
    return value in (True, "true")


_READERS: dict[str, Callable[[Any], Any]] = {
    "setup": _lines,
    "command": _command,
    "rules": _paths,
    "site_options": _names,
    "stop_signal": _stop_signal,
    "recovery": _recovery,
    "hook": _hook,
    "spares": _whole(0, MAX_NODES),
    "checkpoint.directory": _directory,
    "checkpoint.pattern": _pattern,
    "checkpoint.format": _format,
    "checkpoint.complete": _complete,
    "checkpoint.warn_after": _duration,
    "checkpoint.saved": _saved_pattern,
    "progress.pattern": _step_pattern,
    "progress.file": _text,
    "progress.after": _positive_duration,
    "health_check.checks": _checks,
    "health_check.command": _check_command,
    "health_check.timeout": _check_timeout,
    "health_check.when": _check_time,
    "leave_drained": _flag,
    "compile_prefetch": _on_off,
    "watchdog.mode": _watchdog_mode,
    "watchdog.floor": _positive_duration,
    "watchdog.start_floor": _positive_duration,
    "watchdog.compile_floor": _positive_duration,
    "watchdog.typical_factor": _whole(2, MAX_FACTOR),
    "watchdog.longest_factor": _whole(2, MAX_FACTOR),
    "watchdog.busy_factor": _whole(2, MAX_FACTOR),
    "watchdog.slow_factor": _whole(2, MAX_FACTOR),
    "watchdog.slow_after": _positive_duration,
    "watchdog.restart_when_slow": _flag,
    "watchdog.faulthandler": _flag,
    "watchdog.steps": _step_pattern,
    "nodes.csx_per_node": _whole(1, MAX_NODES),
    "policy.stop_on_repeat": _whole(0, MAX_RESTARTS),
    "policy.shrink_after": _duration,
    "policy.give_up_after": _duration,
    "policy.exclude_for": _duration,
    "policy.node_search": _flag,
    "policy.relaunch_min_time": _duration,
    "policy.backoff": _durations,
    "script.max_restarts": _whole(0, MAX_RESTARTS),
    "script.min_nodes": _whole(1, MAX_NODES),
    "script.run_dir": _text,
}
_SECTIONS = ("sbatch", "checkpoint", "progress", "health_check", "watchdog", "nodes", "policy",
             "script")  # fmt: skip
_RENAMED = ("checkpoint.", "progress.", "health_check.", "watchdog.", "script.")
KEYS = ("sbatch", *_READERS)
# Field names of keys whose last part is not the name of the field.
_FIELDS = {key: key.replace(".", "_") for key in _READERS if key.startswith(_RENAMED)}
_SHORT: dict[str, Callable[[str], str]] = {
    "progress": lambda _: "pattern",
    "health_check": lambda text: "checks" if is_list_of_checks(text) else "command",
    "watchdog": lambda _: "mode",
}
"""Sections that may be a text in place of a mapping, and the key that a text sets then."""


def combine(layers: Sequence[SettingsLayer]) -> tuple[Settings, list[str]]:
    """Return the combined settings, in which later layers override earlier ones, and all problems.

    Null (or an option that is false) removes the value of an earlier layer.
    """
    problems: list[str] = []
    sbatch: dict[str, OptionSetting] = {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for keys, value in _flat(layer, problems):
            if keys[0] == "sbatch":
                _set_option(sbatch, layer, keys, value, problems)
            elif (target := _set_value(values, layer, keys, value, problems)) is not None:
                origins[target] = layer.where(keys)
    return Settings(sbatch=sbatch, origins=origins, **values), problems


def _flat(layer: SettingsLayer, problems: list[str]) -> list[tuple[tuple[str, ...], Any]]:
    flat: list[tuple[tuple[str, ...], Any]] = []
    for key, value in layer.values.items():
        if key not in _SECTIONS:
            flat.append(((key,), value))
        elif isinstance(value, dict):
            flat += [((key, inner), item) for inner, item in value.items()]
        elif isinstance(value, str) and key in _SHORT:
            flat.append(((key, short_key(key, value)), value))
        elif isinstance(value, bool) and key == "watchdog":
            # `on` and `off` are flags in YAML.
            flat.append(((key, "mode"), value))
        elif value is not None:
            problems.append(f"{layer.where((key,))}: expected a mapping, got {format_value(value)}")
    return flat


def short_key(section: str, text: str) -> str:
    """Return the key that a text in place of a section's mapping sets."""
    return _SHORT[section](text)


def _set_value(
    values: dict[str, Any],
    layer: SettingsLayer,
    keys: tuple[str, ...],
    value: Any,
    problems: list[str],
) -> str | None:
    """Set a value; return the name of its field, None if none is set."""
    name = ".".join(keys)
    if name not in _READERS:
        near = nearest(name, KEYS) or nearest(name, (*KEYS, *_SECTIONS))
        expected = near or f"one of {', '.join(KEYS)}"
        problems.append(f"{layer.where(keys)}: expected {expected}, got {format_value(name)}")
        return None
    target = _FIELDS.get(name, keys[-1])
    if value is None:
        values.pop(target, None)
        return None
    try:
        values[target] = _READERS[name](value)
    except _InvalidValueError as error:
        problems.append(f"{layer.where(keys)}: expected {error}, got {format_value(value)}")
        return None
    return target


def _set_option(
    sbatch: dict[str, OptionSetting],
    layer: SettingsLayer,
    keys: tuple[str, ...],
    value: Any,
    problems: list[str],
) -> None:
    name = keys[1].removeprefix("--")
    if value is None or value is False:
        sbatch.pop(name, None)
        return
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    if not isinstance(value, str | bool) or "\0" in str(value):
        problems.append(f"{layer.where(keys)}: expected text or a flag, got {format_value(value)}")
        return
    sbatch.pop(name, None)
    sbatch[name] = OptionSetting(value=value, origin=layer.where(keys))
