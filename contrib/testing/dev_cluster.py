"""A real Slurm cluster on this machine for tests, booted and ended with contrib/devcluster.

Jobs are submitted as an ordinary user (`games` where the tests run as root:
every Debian has that user, and `nobody` is no user for Slurm 26.05, not even in an account).
"""

import os
import pwd
import secrets
import shlex
import shutil
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from contrib.testing.waiting import DEADLINE, await_
from slurm_restart.slurm.parse_nodes import parse_release

PROGRAM = Path(__file__).parents[1] / "devcluster"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
AS_ROOT = os.geteuid() == 0


def missing() -> str | None:
    """Return why no cluster can be booted on this machine, or None if one can."""
    absent = [
        name
        for name in ("slurmctld", "slurmd", "munged")
        if shutil.which(name, path=SYSTEM_PATH) is None
    ]
    return f"{', '.join(absent)}: not installed" if absent else None


PATIENT_TIMERS = {
    "SlurmdTimeout": "120",
    "MessageTimeout": "60",
    "TCPTimeout": "30",
    "BatchStartTimeout": "60",
    "UnkillableStepTimeout": "300",
}
"""Settings of slurm.conf (seconds) with which a busy machine makes no node DOWN and ends no launch.
A test that needs a dead node to be noticed soon sets SlurmdTimeout itself (DEAD_NODE_NOTICED)."""
DEAD_NODE_NOTICED = ("--set", "SlurmdTimeout=20", "--set", "TCPTimeout=5")
"""Options for a cluster on which the death of a slurmd is noticed in about half a minute.

slurmctld notes the answers to a round of pings together, once it has given up connecting to the
dead slurmd (after 10 s on 22.05, TCPTimeout on 24.11). If that takes as long as SlurmdTimeout, it
sets all nodes DOWN."""


class DevCluster:
    """A cluster in its own directory; `with` boots it, and ends it with all its files.

    Args:
        nodes: number of nodes, named csx1 onwards.
        prefix: directory of another Slurm installation than the system's.
        options: further options of `devcluster up`; they win over PATIENT_TIMERS.
    """

    def __init__(
        self, *, nodes: int = 3, prefix: Path | None = None, options: tuple[str, ...] = ()
    ) -> None:
        self.nodes = nodes
        self.prefix = prefix
        timers = [word for pair in PATIENT_TIMERS.items() for word in ("--set", "=".join(pair))]
        self.options = (*timers, "--timeout", f"{DEADLINE:.0f}", *options)
        self.user = pwd.getpwnam("games") if AS_ROOT else pwd.getpwuid(os.geteuid())
        # Not below pytest's own directories, which other users may not enter.
        self.directory = Path(tempfile.mkdtemp(prefix="csx-test-"))
        self.directory.chmod(0o755)
        self.root = self.directory / "cluster"
        self.work = self.directory / "work"
        self.work.mkdir()
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    # --- the cluster -----------------------------------------------------------------------------

    @property
    def conf(self) -> Path:
        """slurm.conf."""
        return self.root / "etc" / "slurm.conf"

    @property
    def bin_dir(self) -> Path:
        """The directory of the commands."""
        return self.prefix / "bin" if self.prefix else Path("/usr/bin")

    @property
    def node_names(self) -> tuple[str, ...]:
        """The nodes' names."""
        return tuple(f"csx{number}" for number in range(1, self.nodes + 1))

    def up(self) -> None:
        """Boot; all nodes are idle then. Ends with this process at the latest."""
        if AS_ROOT:
            os.chown(self.work, self.user.pw_uid, self.user.pw_gid)
        prefix = ("--prefix", str(self.prefix)) if self.prefix else ()
        guard = f"--until-exit-of={os.getpid()}"
        self._devcluster(
            "up", "--nodes", str(self.nodes), guard, *prefix, *self.options, str(self.root)
        )
        exports = self._devcluster("env", str(self.root)).splitlines()
        pairs = [shlex.split(line)[1].partition("=") for line in exports]
        # No SLURM_*, SBATCH_* or SQUEUE_* of the caller's reaches the cluster's commands.
        self.environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", "HOME": str(self.work)}
        self.environment |= {key: value for key, _, value in pairs}

    def down(self) -> None:
        """End everything that belongs to the cluster and remove its files."""
        self._devcluster("down", "--purge", str(self.root))
        shutil.rmtree(self.directory, ignore_errors=True)

    def fault(self, *arguments: str) -> None:
        """Break or mend something: `devcluster fault DIR …`."""
        self._devcluster("fault", str(self.root), *arguments)

    def mend(self) -> None:
        """Cancel all jobs, undo reservations, resume all nodes, and wait until they are idle."""
        # By number, since newer releases refuse to cancel the jobs of the user nobody by name.
        if jobs := self.run("squeue", "-h", "-a", "-o", "%F", as_root=True).split():
            self.run("scancel", *jobs, as_root=True)
        for line in self.run("scontrol", "show", "reservation", "-o", as_root=True).splitlines():
            if line.startswith("ReservationName="):
                self.run("scontrol", "delete", line.split(" ")[0], as_root=True)
        self.mend_nodes()
        await_(lambda: all(self.node(node) == "idle" for node in self.node_names), "all nodes idle")

    def mend_nodes(self) -> None:
        """Resume all nodes."""
        for node in self.node_names:
            if self.node(node).startswith(("down", "drain", "fail")):
                self.run("scontrol", "update", f"NodeName={node}", "State=RESUME", as_root=True)

    # --- commands and jobs -----------------------------------------------------------------------

    def run(
        self, *command: str, as_root: bool = False, timeout: float = DEADLINE, check: bool = True
    ) -> str:
        """Run a command of the cluster's and return what it printed; it must succeed if `check`."""
        as_user: dict[str, Any] = {} if as_root or not AS_ROOT else self._identity()
        done = subprocess.run(
            command,
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            **as_user,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{shlex.join(command)}: {done.stderr}")
        return str(done.stdout)

    @cached_property
    def release(self) -> tuple[int, int]:
        """Major and minor of the release of Slurm, such as (24, 11)."""
        return parse_release(self.run("scontrol", "--version"))

    def script(self, text: str) -> Path:
        """A batch script with that text."""
        path = self.work / f"{secrets.token_hex(4)}.sh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def submit(self, text: str, *options: str, as_root: bool = False) -> int:
        """Submit a script with that text; the job id."""
        script = str(self.script(text))
        line = self.run("sbatch", "--parsable", *options, script, as_root=as_root)
        return int(line.strip().partition(";")[0])

    def state(self, job_id: int) -> str:
        """Return a job's state as squeue shows it, for example COMPLETING."""
        return self.run("squeue", "-h", "-a", "-t", "all", "-j", str(job_id), "-o", "%T").strip()

    def await_state(self, job_id: int, *states: str, timeout: float = DEADLINE) -> str:
        """Wait until a job is in one of the states; return that state."""
        seen = ""

        def reached() -> bool:
            nonlocal seen
            seen = self.state(job_id)
            return seen in states

        await_(reached, f"job {job_id} {'|'.join(states)}", timeout=timeout)
        return seen

    def await_reason(self, job_id: int, *reasons: str, timeout: float = DEADLINE) -> None:
        """Wait until squeue shows a job with one of the reasons."""
        ask = ("squeue", "-h", "-a", "-t", "all", "-j", str(job_id), "-o", "%r")
        what = f"job {job_id}: reason {'|'.join(reasons)}"
        await_(lambda: self.run(*ask).strip() in reasons, what, timeout=timeout)

    def node(self, name: str) -> str:
        """Return a node's state as sinfo shows it, for example `down*`."""
        return self.run("sinfo", "-h", "-N", "-n", name, "-o", "%T").split()[0]

    def _identity(self) -> dict[str, Any]:
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _devcluster(self, *arguments: str) -> str:
        done = subprocess.run(
            [PROGRAM, *arguments], capture_output=True, text=True, timeout=2 * DEADLINE, check=False
        )
        if done.returncode != 0:
            raise AssertionError(f"devcluster {shlex.join(arguments)}: {done.stderr}")
        return done.stdout
