"""A cluster on which supervisors can be interrupted at anything that they do to files or processes.

Jobs are submitted with a virtual environment in which every Python imports `interrupt_supervisor`
when it starts; the package itself knows nothing of it.
"""

import os
import pwd
import shutil
import sysconfig
import venv
from pathlib import Path
from typing import Any

from contrib.testing.crash_points import Caller
from contrib.testing.scripted_runs import ScriptedCluster

_SOURCE = Path(__file__).with_name("interrupt_supervisor.py")
_MODULE = "csx_interrupt_supervisor"
OF_THE_JOB = (Caller.SUPERVISOR, Caller.REAPER)
"""Processes of the job's owner."""
_SCRIPT = """\
#!{python}
import sys
from slurm_restart.cli.console import {function}
sys.exit({function}())
"""


class SupervisedCluster(ScriptedCluster):
    """A cluster of equal partitions whose users have the commands of that environment in PATH."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(recovery=None, **settings)
        assert self.crash_points is not None
        self._bin_dir = make_environment(self.directory / "venv", self.crash_points.folder)

    def use_package(self) -> None:
        """Put the commands of the environment into the users' PATH, before this interpreter's."""
        super().use_package()
        self.environment["PATH"] = f"{self._bin_dir}:{self.environment['PATH']}"

    def record(self, job_id: int) -> None:
        """Record the calls for a job from now on, and what its supervisor and its reaper do."""
        assert self.crash_points is not None
        self.crash_points.record(job_id)
        for caller in OF_THE_JOB:
            _give(self.crash_points.folder / f"{caller.value}.{job_id}", self.user)


def make_environment(target: Path, points: Path) -> Path:
    """Make the virtual environment; return the directory of its commands.

    Args:
        target: its directory.
        points: where the operations are recorded.
    """
    venv.create(target, symlinks=True)
    packages = target / f"lib/python{sysconfig.get_python_version()}/site-packages"
    (packages / f"{_MODULE}.py").write_text(_SOURCE.read_text().replace("@POINTS@", str(points), 1))
    ours = sysconfig.get_path("purelib")
    (packages / "interrupt.pth").write_text(f"{ours}\nimport {_MODULE}\n")
    for name in ("csx-sbatch", "csx-restart"):
        script = target / "bin" / name
        function = name.replace("-", "_")
        script.write_text(_SCRIPT.format(python=target / "bin" / "python", function=function))
        script.chmod(0o755)
    return target / "bin"


def _give(folder: Path, user: pwd.struct_passwd) -> None:
    if os.geteuid() == 0:
        shutil.chown(folder, user.pw_uid, user.pw_gid)
