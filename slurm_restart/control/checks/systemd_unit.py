"""Read the properties of systemd units with `systemctl show`."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from slurm_restart.errors import SlurmError
from slurm_restart.slurm.process import run

_RUNNING = Path("/run/systemd/system")
"""A directory that exists where systemd is the init system (sd_booted(3))."""
_TIMEOUT = 10
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|h|d|w)\b")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_INTERVAL = re.compile(r"OnUnit(?:Active|Inactive)U?Sec=([^;}]+)")
_COMMAND_LINE = re.compile(r"argv\[\]=([^;]*?) ;")


def systemd_runs() -> bool:
    """Return whether systemd is this host's init system."""
    return _RUNNING.is_dir()


def unit_properties(unit: str) -> Mapping[str, str] | None:
    """Return all properties of a unit, also of one that does not exist; None: systemd is silent."""
    systemctl = shutil.which("systemctl") or "/usr/bin/systemctl"
    try:
        done = run((systemctl, "show", "--no-pager", unit), timeout=_TIMEOUT)
    except SlurmError:
        return None
    pairs = [line.partition("=") for line in done.stdout.splitlines()]
    found: dict[str, str] = {}
    for name, equals, value in pairs:
        if equals:
            # A property with several values, such as TimersMonotonic, has a line for each.
            found[name] = f"{found[name]} {value}" if name in found else value
    return found if done.code == 0 and found else None


def timer_interval(timer: Mapping[str, str]) -> float | None:
    """Return the seconds from one run of a timer to the next; None: it has no such interval."""
    match = _INTERVAL.search(timer.get("TimersMonotonic", ""))
    parts = _SPAN.findall(match[1]) if match else []
    return sum(float(number) * _UNITS[unit] for number, unit in parts) or None


def command_line(service: Mapping[str, str]) -> tuple[str, ...]:
    """Return the words of a service's ExecStart; empty: it has none."""
    match = _COMMAND_LINE.search(service.get("ExecStart", ""))
    return tuple(match[1].split()) if match else ()


def writable_paths(service: Mapping[str, str]) -> tuple[Path, ...] | None:
    """Return the directories that a confined service may write; None: it is not confined."""
    if service.get("ProtectSystem", "no") != "strict":
        return None
    named = (word.lstrip("-+") for word in service.get("ReadWritePaths", "").split())
    below = ((name, "/var/lib") for name in service.get("StateDirectory", "").split())
    return (*map(Path, named), *(Path(top) / name.partition(":")[0] for name, top in below))
