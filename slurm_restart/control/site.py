"""The site's settings for the controller: site.toml, a TOML file that belongs to root."""

import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.errors import ConfigError
from slurm_restart.frozen import frozen
from slurm_restart.trainer.site_file import DEFAULT_PATH, read_toml

_MAX_NUMBER = 10**8
"""Seconds, or restarts: three years."""


@frozen
class HookLimits:
    """Limits of the hook and its helper process, in seconds except `concurrency`."""

    deadline: float = 30.0
    """Time limit for judging one end."""
    command_timeout: float = 10.0
    """Time limit of one Slurm command."""
    concurrency: int = 2
    """How many processes judge ends at the same time; further ends wait."""
    queue_timeout: float = 60.0
    """Longest wait of an end; after it a failed job is requeued, to be judged later."""
    margin: float = 1.1
    """Wait between PENDING and the start of the job: slurmd refuses a start in the second in which
    the job was killed."""
    helper_timeout: float = 90.0
    """How long the helper process waits for a requeued job; after it the reconciler does."""
    stale_running_after: float = 60.0
    """A job is requeued when Slurm shows it RUNNING this long after its trainer has ended."""


@frozen
class Site:
    """Settings of one controller."""

    state_dir: Path = Path("/var/lib/slurm_restart")
    export_dir: Path | None = None
    """Read-only copies of decisions, for `explain` on login nodes."""
    slurm_bin: Path = Path("/usr/bin")
    slurm_conf: Path = Path("/etc/slurm/slurm.conf")
    observe: bool = False
    """Decide and write the journal, but change nothing in Slurm."""
    keep_journals: int = 90
    """Days after its last change for which a journal is kept; 0: for ever."""
    limits: HookLimits = field(default_factory=HookLimits)
    policy: SitePolicy = field(default_factory=SitePolicy)
    systems: Mapping[str, str] = field(default_factory=dict)
    """The node that is excluded in place of a faulty CS system, by the system's name."""


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError("an absolute path")
    return Path(value)


def _number(
    low: float, kind: type[int] | type[float], high: int = _MAX_NUMBER
) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        fits = isinstance(value, int | float if kind is float else int)
        # TOML has inf and nan, which timers do not accept.
        if not fits or isinstance(value, bool) or not low <= value <= high:
            what = "number" if kind is float else "whole number"
            raise ValueError(f"a {what} from {low} to {high}")
        return kind(value)

    return read


def _backoff(value: Any) -> tuple[int, ...]:
    seconds = _number(0, int)
    if not isinstance(value, list):
        raise ValueError("a list of seconds")  # noqa: TRY004 - every reader raises ValueError
    return tuple(seconds(element) for element in value)


def _mode(value: Any) -> bool:
    if value not in ("act", "observe"):
        raise ValueError('"act" or "observe"')
    return bool(value == "observe")


_TOP: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "mode": ("observe", _mode),
    "state_dir": ("state_dir", _path),
    "export_dir": ("export_dir", _path),
    "slurm_bin": ("slurm_bin", _path),
    "slurm_conf": ("slurm_conf", _path),
    "keep_journals": ("keep_journals", _number(0, int)),
}
_POLICY_READERS: dict[str, Callable[[Any], Any]] = {
    "backoff": _backoff,
    "max_prolog_failed_share": _number(0, float, 1),
}
_POLICY: dict[str, tuple[str, Callable[[Any], Any]]] = {
    setting.name: (setting.name, _POLICY_READERS.get(setting.name, _number(0, int)))
    for setting in fields(SitePolicy)
}
_LIMITS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    limit.name: (
        limit.name,
        _number(1, int) if limit.name == "concurrency" else _number(0.1, float),
    )
    for limit in fields(HookLimits)
}
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)
_RENAMED = {
    "hook.ghost_after": "hook.stale_running_after",
    "hook.follow_up": "hook.helper_timeout",
}
"""Keys of release 0.1 and the keys that replace them."""
_OTHER_TABLES = frozenset({"slurm"})
"""Tables for other programs: `slurm` holds the site's defaults for csx-sbatch."""


def _read(
    path: Path,
    prefix: str,
    table: Any,
    known: dict[str, tuple[str, Callable[[Any], Any]]],
    problems: list[str],
) -> dict[str, Any]:
    if not isinstance(table, dict):
        problems.append(f"{path}: {prefix.rstrip('.')}: expected a table")
        return {}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            problems.append(f"{path}: {prefix}{key}: {_unknown_key(prefix + key, known)}")
            continue
        name, read = known[key]
        try:
            values[name] = read(value)
        except ValueError as error:
            problems.append(f"{path}: {prefix}{key}: expected {error}, got {value!r}")
    return values


def _read_systems(path: Path, table: Any, problems: list[str]) -> dict[str, str]:
    """Return the table `systems`; its keys are names of CS systems, its values one node each."""
    if not isinstance(table, dict):
        problems.append(f"{path}: systems: expected a table")
        return {}
    for system, node in table.items():
        if _NAME.fullmatch(system) is None:
            problems.append(f"{path}: systems.{system}: expected the name of a CS system")
        elif not isinstance(node, str) or _NAME.fullmatch(node) is None:
            problems.append(
                f"{path}: systems.{system}: expected the name of one node, got {node!r}"
            )
    return dict(table)


def _unknown_key(key: str, known: Iterable[str]) -> str:
    if key in _RENAMED:
        return f"renamed in release 0.2: write {_RENAMED[key]} instead"
    return f"unknown key, expected one of {', '.join(sorted(known))}"


def check_owner(path: Path) -> None:
    """Refuse a file that other users than its owner could have written.

    Raises:
        ConfigError: the file or its directory is writable by the group or by others.
        OSError: the file does not exist.
    """
    for checked in (path, path.parent):
        mode = checked.stat().st_mode
        sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
            raise ConfigError(str(path), [f"{checked}: writable by others: chmod go-w {checked}"])


def load_site(path: Path = DEFAULT_PATH) -> Site:
    """Read the settings.

    Raises:
        ConfigError: the file is missing, not TOML, writable by others, or has an unknown key or an
            invalid value; `problems` lists all of them.
    """
    try:
        check_owner(path)
    except FileNotFoundError:
        raise _no_file(path) from None
    except OSError as error:
        raise ConfigError(str(path), [f"{path}: {error}"]) from error
    found = read_toml(path)
    if found is None:
        raise _no_file(path)
    data = found[1]
    problems: list[str] = []
    tables = {"policy", "hook", "systems", *_OTHER_TABLES}
    top = {key: value for key, value in data.items() if key not in tables}
    values = _read(path, "", top, _TOP, problems)
    policy = _read(path, "policy.", data.get("policy", {}), _POLICY, problems)
    limits = _read(path, "hook.", data.get("hook", {}), _LIMITS, problems)
    systems = _read_systems(path, data.get("systems", {}), problems)
    if problems:
        raise ConfigError(str(path), problems)
    return Site(**values, policy=SitePolicy(**policy), limits=HookLimits(**limits), systems=systems)


def _no_file(path: Path) -> ConfigError:
    where = "the controller has it, and csx-restart install --print shows how it is made"
    return ConfigError(str(path), [f"{path}: no such file: {where}"])
