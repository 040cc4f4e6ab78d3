"""The reconciler's timer as `systemctl show` describes it."""

from pathlib import Path

import pytest

from slurm_restart.control.checks import systemd_unit
from slurm_restart.control.checks import timer as timer_module
from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Level
from slurm_restart.control.checks.systemd_unit import timer_interval, unit_properties
from slurm_restart.control.checks.timer import SERVICE, TIMER
from tests.unit.control.checks.installation import configured, level, only, problem, results, sited

CHECKS = ("timer.enabled", "timer.interval", "timer.last_sweep", "timer.service")


def change(unit: Path, name: str, value: str) -> None:
    """Set one property of a unit."""
    lines = [line for line in unit.read_text().splitlines() if not line.startswith(f"{name}=")]
    unit.write_text("\n".join([*lines, f"{name}={value}"]) + "\n")


@pytest.fixture
def timer(systemd: Path) -> Path:
    return systemd / TIMER


@pytest.fixture
def service(systemd: Path) -> Path:
    return systemd / SERVICE


@pytest.mark.parametrize("name", CHECKS)
def test_a_right_timer(context: Context, name: str) -> None:
    assert level(context, name) is Level.OK


def test_without_systemd_it_is_said_that_nothing_is_known(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd_unit, "_RUNNING", Path("/nowhere"))
    result = only(context, "timer.enabled")
    assert result.level is Level.UNKNOWN
    assert result.text.startswith("systemd does not run here")
    for name in ("timer.last_sweep", "timer.service", "timer.writable"):
        assert results(context, name) == ()


def test_cron_in_place_of_systemd(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(systemd_unit, "_RUNNING", Path("/nowhere"))
    monkeypatch.setattr(timer_module, "CRON", tmp_path / "cron")
    (tmp_path / "cron").touch()
    assert level(context, "timer.enabled") is Level.OK
    assert "a sweep every 60 (assumed) s" in only(context, "timer.interval").text
    assert "after 170 s" in problem(configured(context, MinJobAge="170 sec"), "timer.interval")


def test_systemctl_that_fails(context: Context, systemd: Path) -> None:
    (systemd / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    assert level(context, "timer.enabled") is Level.UNKNOWN
    (systemd / "systemctl").write_text("no program")
    assert unit_properties(TIMER) is None


def test_no_timer_is_a_warning(context: Context, timer: Path) -> None:
    timer.unlink()
    result = only(context, "timer.enabled")
    assert (result.level, result.text.partition(":")[0]) == (Level.WARNING, f"there is no {TIMER}")
    assert results(context, "timer.last_sweep") == ()


@pytest.mark.parametrize("state", ["error", "bad-setting", "masked"])
def test_a_broken_timer_is_a_problem(context: Context, timer: Path, state: str) -> None:
    change(timer, "LoadState", state)
    assert problem(context, "timer.enabled") == f"{TIMER} cannot be loaded: {state}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("ActiveState", "inactive"), ("ActiveState", "failed"), ("UnitFileState", "disabled")],
)
def test_a_timer_that_does_not_run_is_a_problem(
    context: Context, timer: Path, name: str, value: str
) -> None:
    change(timer, name, value)
    assert value in problem(context, "timer.enabled")
    assert only(context, "timer.enabled").remedy == f"systemctl enable --now {TIMER}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("{ OnUnitInactiveUSec=30s ; next_elapse=0 }", 30),
        ("{ OnBootUSec=5min ; next_elapse=0 } { OnUnitActiveUSec=1min 30s ; next_elapse=0 }", 90),
        ("{ OnUnitActiveUSec=1h ; next_elapse=0 }", 3600),
        ("{ OnUnitActiveUSec=1.500s ; next_elapse=0 }", 1.5),
        ("{ OnUnitActiveUSec=500ms ; next_elapse=0 }", 0.5),
        ("{ OnBootUSec=30s ; next_elapse=0 }", None),
        ("", None),
    ],
)
def test_the_interval_of_a_timer(text: str, seconds: float | None) -> None:
    assert timer_interval({"TimersMonotonic": text}) == seconds


@pytest.mark.parametrize(
    ("keep", "found"),
    [
        ("90 sec", Level.OK),
        ("89 sec", Level.PROBLEM),
        ("2 sec", Level.PROBLEM),
        ("0 sec", Level.OK),
        ("unlimited", Level.OK),
    ],
)
def test_three_sweeps_have_to_fit_into_minjobage(context: Context, keep: str, found: Level) -> None:
    assert level(configured(context, MinJobAge=keep), "timer.interval") is found


def test_without_a_timer_the_usual_interval_is_assumed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd_unit, "_RUNNING", Path("/nowhere"))
    assert level(configured(context, MinJobAge="90 sec"), "timer.interval") is Level.OK
    text = problem(configured(context, MinJobAge="89 sec"), "timer.interval")
    assert text.startswith("a sweep every 30 (assumed) s, ")


def test_a_slow_timer(context: Context, timer: Path) -> None:
    change(timer, "TimersMonotonic", "{ OnUnitActiveUSec=2min ; next_elapse=0 }")
    assert problem(context, "timer.interval").startswith("a sweep every 120 s, ")


def test_a_failed_sweep_is_a_problem(context: Context, service: Path) -> None:
    change(service, "Result", "exit-code")
    change(service, "ExecMainStatus", "3")
    assert problem(context, "timer.last_sweep") == "the last sweep failed: exit-code, status 3"


def test_a_timer_without_its_service_is_a_problem(context: Context, service: Path) -> None:
    service.unlink()
    assert problem(context, "timer.last_sweep").endswith("is not loaded (not-found)")
    assert results(context, "timer.service") == ()


@pytest.mark.parametrize(
    ("user", "found"),
    [
        ("", Level.OK),
        ("root", Level.OK),
        ("nobody", Level.OK),
        ("65534", Level.OK),
        ("daemon", Level.PROBLEM),
    ],
)
def test_who_may_run_the_sweep(context: Context, service: Path, user: str, found: Level) -> None:
    change(service, "User", user)
    result = only(configured(context, SlurmUser="nobody(65534)"), "timer.service")
    assert result.level is found
    assert f"{SERVICE} runs as {user or 'root'}" in result.text


def test_a_sweep_with_other_settings_is_a_problem(context: Context, service: Path) -> None:
    argv = "{ path=/a ; argv[]=/a reconcile --site /else.toml ; ignore_errors=no }"
    change(service, "ExecStart", argv)
    text = problem(context, "timer.service")
    assert text == f"{SERVICE} reads /else.toml, not {context.site_path}"


@pytest.mark.parametrize(
    ("writable", "state", "export", "closed"),
    [
        ("", "/var/lib/slurm_restart", None, []),
        ("", "/var/lib/slurm_restart/x", None, []),
        ("", "/var/lib/slurm_restart2", None, ["/var/lib/slurm_restart2"]),
        ("", "/srv/state", "/srv/export", ["/srv/state", "/srv/export"]),
        ("-/srv/state /srv/export", "/srv/state", "/srv/export", []),
        ("/srv", "/srv/state", "/srv/export/a", []),
    ],
)
def test_directories_that_a_confined_sweep_may_write(
    context: Context,
    service: Path,
    writable: str,
    state: str,
    export: str | None,
    closed: list[str],
) -> None:
    paths = sited(context, state_dir=Path(state), export_dir=Path(export) if export else None)
    assert results(paths, "timer.writable") == ()
    change(service, "ProtectSystem", "strict")
    change(service, "ReadWritePaths", writable)
    found = results(paths, "timer.writable")
    named = [result.text.split()[4] for result in found if result.level is Level.PROBLEM]
    assert named == closed
    assert bool(closed) or [result.level for result in found] == [Level.OK]
