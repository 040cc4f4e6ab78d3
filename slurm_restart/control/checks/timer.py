"""Checks of the timer that runs the reconciler: enabled, frequent, its last sweep successful."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Check, Finding, ok, problem, unknown, warning
from slurm_restart.control.checks.systemd_unit import (
    command_line,
    systemd_runs,
    timer_interval,
    unit_properties,
    writable_paths,
)

TIMER = "slurm-restart-reconcile.timer"
SERVICE = "slurm-restart-reconcile.service"
CRON = Path("/etc/cron.d/slurm-restart")
"""What runs the reconciler where there is no systemd."""
_CRON_INTERVAL = 60.0
_USUAL_INTERVAL = 30.0
"""Seconds, of contrib/systemd."""
_SWEEPS = 3
"""How many sweeps have to fit into MinJobAge: one may fail, and one may come too early."""
_ROOT = "root"
_BY_HAND = "or run `csx-restart reconcile --every 30` as SlurmUser in another way"


def _loaded(unit: str) -> Mapping[str, str] | None:
    """Return a unit's properties; None: there is no systemd or no such unit."""
    found = unit_properties(unit) if systemd_runs() else None
    return found if found is not None and found.get("LoadState") == "loaded" else None


def _enabled(_context: Context) -> Iterable[Finding]:
    if not systemd_runs():
        yield _without_systemd()
        return
    timer = unit_properties(TIMER)
    if timer is None:
        yield unknown(f"systemctl show {TIMER} gives no answer", f"systemctl status {TIMER}")
    elif timer.get("LoadState") == "not-found":
        yield warning(
            f"there is no {TIMER}: what the hook misses stays undone unless something else runs "
            "the reconciler",
            f"csx-restart install --print prints how to install it, {_BY_HAND}",
        )
    elif timer.get("LoadState") != "loaded":
        text = f"{TIMER} cannot be loaded: {timer.get('LoadState')}"
        yield problem(text, f"systemctl status {TIMER}")
    elif timer.get("ActiveState") != "active" or timer.get("UnitFileState") != "enabled":
        yield problem(
            f"{TIMER} is {timer.get('UnitFileState')} and {timer.get('ActiveState')}, so that no "
            "sweep finds what the hook has missed",
            f"systemctl enable --now {TIMER}",
        )
    else:
        yield ok(f"{TIMER} is enabled and active")


def _without_systemd() -> Finding:
    if CRON.is_file():
        return ok(f"{CRON} runs the reconciler")
    return unknown(
        "systemd does not run here, so it is not known what runs the reconciler",
        f"let cron run it (csx-restart install --print writes {CRON}), or run `csx-restart "
        "reconcile --every 30` as SlurmUser",
    )


def least_min_job_age() -> float:
    """Return the seconds that MinJobAge has to have at the usual interval of the sweep."""
    return _SWEEPS * (_USUAL_INTERVAL if systemd_runs() else _CRON_INTERVAL)


def _usual_interval() -> float:
    return _CRON_INTERVAL if not systemd_runs() and CRON.is_file() else _USUAL_INTERVAL


def _interval(context: Context) -> Iterable[Finding]:
    timer = _loaded(TIMER)
    interval = timer_interval(timer) if timer else None
    usual = _usual_interval()
    shown = f"{interval:g}" if interval else f"{usual:g} (assumed)"
    keep = context.seconds("MinJobAge")
    if keep and keep < _SWEEPS * (interval or usual):
        yield problem(
            f"a sweep every {shown} s, but slurmctld deletes an ended job after {keep} s: an end "
            "that the hook has missed is lost",
            f"raise MinJobAge in slurm.conf to at least {_SWEEPS} intervals, such as 300",
        )
    else:
        # MinJobAge=0: no record is ever deleted (slurm.conf(5)).
        yield ok(f"a sweep every {shown} s, MinJobAge {keep or 'unlimited'} s")


def _last_sweep(_context: Context) -> Iterable[Finding]:
    if _loaded(TIMER) is None:
        return
    service = unit_properties(SERVICE)
    if service is None or service.get("LoadState") != "loaded":
        state = "unknown" if service is None else service.get("LoadState")
        text = f"{SERVICE}, which the timer starts, is not loaded ({state})"
        yield problem(text, "install contrib/systemd again; systemctl daemon-reload")
    elif service.get("Result") != "success":
        yield problem(
            f"the last sweep failed: {service.get('Result')}, status "
            f"{service.get('ExecMainStatus')}",
            f"journalctl -u {SERVICE}",
        )
    else:
        yield ok("the last sweep succeeded")


def _service(context: Context) -> Iterable[Finding]:
    service = _loaded(SERVICE)
    if service is None:
        return
    user = service.get("User") or _ROOT
    words = command_line(service)
    site = words[words.index("--site") + 1 :][:1] if "--site" in words else ()
    # Root becomes the owner of the state directory, which state.directory checks.
    if user not in (_ROOT, context.slurm_user.name, str(context.slurm_user.uid)):
        yield problem(
            f"{SERVICE} runs as {user}, SlurmUser is {context.slurm_user.name}",
            f"systemctl edit {SERVICE}: [Service] User={context.slurm_user.name}",
        )
    elif site and site[0] != str(context.site_path):
        yield problem(
            f"{SERVICE} reads {site[0]}, not {context.site_path}",
            f"correct ExecStart of {SERVICE}",
        )
    else:
        yield ok(f"{SERVICE} runs as {user}")


def _writable(context: Context) -> Iterable[Finding]:
    service = _loaded(SERVICE)
    allowed = writable_paths(service) if service else None
    if allowed is None:
        return
    wanted = (context.site.state_dir, context.site.export_dir)
    closed = [path for path in wanted if path is not None and not _is_below(path, allowed)]
    if not closed:
        yield ok(f"{SERVICE} may write the state directory")
    for path in closed:
        yield problem(
            f"{SERVICE} may not write {path} (ProtectSystem=strict)",
            f"systemctl edit {SERVICE}: [Service] ReadWritePaths={path}",
        )


def _is_below(path: Path, tops: Iterable[Path]) -> bool:
    return any(path == top or top in path.parents for top in tops)


CHECKS = (
    Check(
        id="timer.enabled",
        meaning="The timer of the reconciler is enabled and active.",
        run=_enabled,
    ),
    Check(
        id="timer.interval",
        meaning="Three sweeps fit into MinJobAge, after which slurmctld deletes an ended job.",
        run=_interval,
    ),
    Check(id="timer.last_sweep", meaning="The last sweep succeeded.", run=_last_sweep),
    Check(
        id="timer.service",
        meaning="The sweep runs as SlurmUser or root, with this site.toml.",
        run=_service,
    ),
    Check(
        id="timer.writable",
        meaning="The service may write the state directory and `export_dir` (ReadWritePaths).",
        run=_writable,
    ),
)
