"""An installation in which nothing is wrong."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_restart.control.checks import site_files, systemd_unit
from slurm_restart.control.checks.context import Context
from slurm_restart.control.hook_script import hook_text
from slurm_restart.control.site import Site
from tests.unit.control.checks.installation import ME

SCONTROL = "#!/bin/sh\necho 'Slurmctld(primary) at here is UP'\n"
TIMER = """\
LoadState=loaded
ActiveState=active
UnitFileState=enabled
TimersMonotonic={ OnBootUSec=1min ; next_elapse=0 }
TimersMonotonic={ OnUnitInactiveUSec=30s ; next_elapse=0 }
"""
SYSTEMCTL = """\
#!/bin/sh
# systemctl show --no-pager UNIT
cat "$(dirname "$0")/$3" 2>/dev/null || echo LoadState=not-found
"""
CONFIG = {
    "SLURM_VERSION": "26.05.5",
    "MinJobAge": "300 sec",
    "JobRequeue": "1",
    "JobFileAppend": "0",
    "KillOnBadExit": "1",
    "MessageTimeout": "10 sec",
    "ProctrackType": "proctrack/cgroup",
    "PrologEpilogTimeout": "65534",
    "PrologFlags": "(null)",
    "RequeueExit": "(null)",
    "RequeueExitHold": "(null)",
    "SchedulerParameters": "(null)",
    "AuthInfo": "(null)",
    "SlurmdTimeout": "120 sec",
    "SlurmUser": f"{ME.pw_name}({ME.pw_uid})",
}


@pytest.fixture
def top() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="csx-doctor-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def systemd(top: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory from which `systemctl show` prints the properties of units."""
    directory = top / "systemd"
    directory.mkdir()
    (directory / "systemctl").write_text(SYSTEMCTL)
    (directory / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    monkeypatch.setattr(systemd_unit, "_RUNNING", directory)
    (directory / "slurm-restart-reconcile.timer").write_text(TIMER)
    (directory / "slurm-restart-reconcile.service").write_text(
        f"LoadState=loaded\nUser={ME.pw_name}\nResult=success\nExecMainStatus=0\n"
        "ProtectSystem=no\nReadWritePaths=\nStateDirectory=slurm_restart\n"
        "ExecStart={ path=/opt/csx-restart ; argv[]=/opt/csx-restart reconcile --site "
        f"{top}/site.toml ; ignore_errors=no ; pid=0 }}\n"
    )
    return directory


@pytest.fixture
def context(top: Path, systemd: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The installation."""
    assert systemd.is_dir()
    commands, state = top / "bin", top / "state"
    for directory in (commands, state):
        directory.mkdir()
    state.chmod(0o700)
    for name in ("scontrol", "squeue", "sinfo", "scancel"):
        (commands / name).write_text(SCONTROL)
        (commands / name).chmod(0o755)
    (top / "slurm.conf").touch()
    (top / "site.toml").touch()
    monkeypatch.setattr(site_files, "SITE_RULES", top / "rules.d")
    site = Site(state_dir=state, slurm_bin=commands, slurm_conf=top / "slurm.conf")
    hook = top / "csx-epilog"
    hook.write_text(hook_text(top / "site.toml", site, python=Path(sys.executable)))
    hook.chmod(0o755)
    return Context(
        site_path=top / "site.toml",
        site_found=site,
        config_found=CONFIG | {"EpilogSlurmctld": str(hook)},
    )
