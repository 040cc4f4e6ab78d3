"""Check the set-up of this controller; each result says what it means and how to correct it."""

import os
import pwd
import re
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from slurm_restart.control.site import Site
from slurm_restart.logs.lint import lint
from slurm_restart.logs.rules import SITE_RULES
from slurm_restart.safe_files import read_bounded

HOOK_MARK = "slurm_restart.control.epilog"
TIMER = "slurm-restart-reconcile.timer"
_SYSTEMD = (Path("/etc/systemd/system"), Path("/lib/systemd/system"))
_PROBE_TIMEOUT = 20
_MAX_BYTES = 1 << 20
"""Of a hook or a timer; a larger file is neither."""
_NO_LIMIT = 65535  # how `scontrol show config` shows an unlimited 16-bit value


class Level(Enum):
    """Severity of a check's result."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check's result."""

    check: str
    level: Level
    text: str
    remedy: str | None = None


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is checked: the site's settings and the output of `scontrol show config`."""

    site: Site
    site_path: Path
    config: Mapping[str, str]


def examine(setup: Setup) -> tuple[CheckResult, ...]:
    """Run every check and return the results, in a fixed order."""
    return tuple(result for check in _CHECKS for result in check(setup))


def _ok(check: str, text: str) -> CheckResult:
    return CheckResult(check=check, level=Level.OK, text=text)


def _note(check: str, text: str, remedy: str | None = None) -> CheckResult:
    return CheckResult(check=check, level=Level.NOTE, text=text, remedy=remedy)


def _problem(check: str, text: str, remedy: str) -> CheckResult:
    return CheckResult(check=check, level=Level.PROBLEM, text=text, remedy=remedy)


def hooks(config: Mapping[str, str]) -> tuple[str, ...]:
    """Return the paths of EpilogSlurmctld; from 24.11 there may be several, numbered `[0]`."""
    values = [
        value
        for key, value in config.items()
        if re.fullmatch(r"EpilogSlurmctld(\[\d+\])?", key) and value not in {"", "(null)"}
    ]
    return tuple(path for value in values for path in value.split(","))


def _check_hook(setup: Setup) -> Iterator[CheckResult]:
    paths = hooks(setup.config)
    ours = [path for path in paths if _is_ours(Path(path))]
    if not ours:
        found = ", ".join(paths) or "none"
        yield _problem(
            "hook",
            f"EpilogSlurmctld is not csx-epilog (found: {found})",
            "csx-restart hook > /etc/slurm_restart/csx-epilog; chmod 755 it; set EpilogSlurmctld "
            "in slurm.conf; restart slurmctld",
        )
        return
    if len(paths) > 1:
        yield _problem(
            "hook",
            f"{len(paths)} EpilogSlurmctld programs: the first that returns ends COMPLETING",
            "keep only csx-epilog, and let it run the other one: csx-restart hook --former PATH",
        )
    for path in map(Path, ours):
        yield from _check_hook_file(path, setup.site_path)


def _is_ours(path: Path) -> bool:
    try:
        return HOOK_MARK in _read(path)
    except OSError:
        return False


def _read(path: Path) -> str:
    return read_bounded(path, _MAX_BYTES).decode(errors="replace")


def _value(text: str, name: str) -> str:
    match = re.search(rf"^{name}='?([^'\n#]*?)'?\s*(?:#.*)?$", text, re.MULTILINE)
    return match[1] if match else ""


def _check_hook_file(path: Path, site_path: Path) -> Iterator[CheckResult]:
    text = _read(path)
    if not path.is_absolute() or not os.access(path, os.X_OK):
        yield _problem("hook", f"{path} is not executable", f"chmod 755 {path}; restart slurmctld")
    elif path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield _problem("hook", f"{path} can be written by others", f"chmod go-w {path}")
    else:
        yield _ok("hook", f"{path} is EpilogSlurmctld and executable")
    python, named = _value(text, "PYTHON"), _value(text, "SITE")
    if named != str(site_path):
        yield _problem(
            "hook",
            f"{path} reads {named or 'no settings'}, not {site_path}",
            f"csx-restart hook --site {site_path} > {path}",
        )
    if not python.startswith("/") or not _imports(python):
        yield _problem(
            "hook",
            f"{python or 'no interpreter'} cannot import slurm_restart",
            f"csx-restart hook > {path} with the csx-restart of the installation to use",
        )


def _imports(python: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-I", "-c", f"import {HOOK_MARK}"],
            env={},
            capture_output=True,
            timeout=_PROBE_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _check_commands(setup: Setup) -> Iterator[CheckResult]:
    absent = [
        str(setup.site.slurm_bin / name)
        for name in ("scontrol", "squeue", "sinfo", "scancel")
        if not os.access(setup.site.slurm_bin / name, os.X_OK)
    ]
    if absent:
        yield _problem("commands", f"missing: {', '.join(absent)}", "set slurm_bin in site.toml")
    elif not setup.site.slurm_conf.is_file():
        yield _problem(
            "commands", f"{setup.site.slurm_conf} does not exist", "set slurm_conf in site.toml"
        )
    else:
        yield _ok("commands", f"Slurm's commands are in {setup.site.slurm_bin}")


def slurm_user(config: Mapping[str, str]) -> tuple[str, int] | None:
    """Return name and uid of SlurmUser, which `scontrol show config` prints as `slurm(64030)`."""
    match = re.fullmatch(r"([^()]+)\((\d+)\)", config.get("SlurmUser", ""))
    return (match[1], int(match[2])) if match else None


def _check_state_dir(setup: Setup) -> Iterator[CheckResult]:
    path, user = setup.site.state_dir, slurm_user(setup.config)
    name, uid = user or (pwd.getpwuid(os.getuid()).pw_name, os.getuid())
    make = f"install -d -m 700 -o {name} {path}"
    try:
        found = path.stat()
    except OSError as error:
        yield _problem("state", f"{path}: {error.strerror}", make)
        return
    if found.st_uid != uid:
        yield _problem("state", f"{path} does not belong to SlurmUser ({name})", make)
    elif found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield _problem("state", f"{path} is accessible to others", f"chmod 700 {path}")
    else:
        yield _ok("state", f"{path} belongs to {name} alone")


def seconds(text: str) -> int | None:
    """Return the seconds of a value such as `300 sec`; None if it starts with no number."""
    match = re.match(r"(\d+)", text)
    return int(match[1]) if match else None


def timer_interval() -> int | None:
    """Return the seconds between sweeps of the systemd timer; None: it is not installed."""
    for folder in _SYSTEMD:
        try:
            text = _read(folder / TIMER)
        except OSError:
            continue
        match = re.search(r"^OnUnit(?:Inactive|Active)Sec=(\d+)(s|sec|min|m)?$", text, re.MULTILINE)
        if match:
            return int(match[1]) * (60 if match[2] in ("min", "m") else 1)
    return None


def _check_timer(setup: Setup) -> Iterator[CheckResult]:
    keep, interval = seconds(setup.config.get("MinJobAge", "")), timer_interval()
    if interval is None:
        yield _note(
            "timer",
            f"no {TIMER}: ends that the hook misses are found only by `csx-restart reconcile`",
            "install contrib/systemd, or run `csx-restart reconcile --every 30`",
        )
    elif keep is not None and interval * 3 > keep:
        yield _problem(
            "timer",
            f"a sweep every {interval} s, but slurmctld drops an ended job after {keep} s",
            "raise MinJobAge in slurm.conf to at least three intervals",
        )
    else:
        yield _ok("timer", f"a sweep every {interval} s, MinJobAge {keep} s")


def _check_requeue(setup: Setup) -> Iterator[CheckResult]:
    config = setup.config
    if config.get("JobRequeue", "1") == "0":
        yield _note("requeue", "JobRequeue=0: csx-sbatch passes --requeue")
    if "requeue_delay=" in config.get("SchedulerParameters", ""):
        yield _ok("requeue", "SchedulerParameters sets requeue_delay")
    else:
        yield _ok("requeue", "Slurm delays a requeued job by 121 s; the hook starts it earlier")
    limit = seconds(config.get("PrologEpilogTimeout", ""))
    if limit is not None and 0 < limit < _NO_LIMIT and limit < setup.site.limits.deadline:
        yield _problem(
            "requeue",
            f"PrologEpilogTimeout={limit} kills the hook before its own deadline",
            f"raise it above {setup.site.limits.deadline:g} s, or lower hook.deadline in site.toml",
        )


def _check_open_mode(setup: Setup) -> Iterator[CheckResult]:
    if setup.config.get("JobFileAppend", "0") == "0":
        yield _ok("open mode", "JobFileAppend=0: csx-sbatch passes --open-mode=append")
    else:
        yield _ok("open mode", "JobFileAppend=1")


def _check_rules(_setup: Setup) -> Iterator[CheckResult]:
    if not SITE_RULES.is_dir():
        return
    found = lint([SITE_RULES])
    for problem in found.problems:
        yield _problem(
            "rules",
            f"invalid log rule: {problem}",
            "correct the rule, then check with: csx-restart rules lint",
        )
    if not found.problems:
        yield _ok("rules", f"{found.rules} rules in {SITE_RULES}")


def _check_mode(setup: Setup) -> Iterator[CheckResult]:
    if setup.site.observe:
        yield _note(
            "mode",
            "observe: decisions are only written to the journal, nothing is changed in Slurm",
            'set mode = "act" in site.toml when the trial is over',
        )
    else:
        yield _ok("mode", "act")


_CHECKS: tuple[Callable[[Setup], Iterator[CheckResult]], ...] = (
    _check_hook,
    _check_commands,
    _check_state_dir,
    _check_timer,
    _check_requeue,
    _check_open_mode,
    _check_mode,
    _check_rules,
)
