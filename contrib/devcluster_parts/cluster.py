"""A cluster: its directory, its commands, and which processes belong to it and to each node."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from contrib.devcluster_parts.errors import DevclusterError, poll
from contrib.devcluster_parts.processes import (
    Process,
    descendants,
    die_with_parent,
    environment_of,
    kill_all,
    open_files,
    read_processes,
    read_recorded,
)
from contrib.devcluster_parts.software import find_program

SPECIAL_STEPS = {0xFFFFFFFA: "interactive", 0xFFFFFFFB: "batch", 0xFFFFFFFC: "extern"}


@dataclass(frozen=True)
class Step:
    """A slurmstepd and the step that it manages, as the name of its socket says."""

    pid: int
    node: str
    job: int
    step: str

    def __str__(self) -> str:
        return f"{self.job}.{self.step}"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster's directory and what `up` wrote down in its cluster.json."""

    directory: Path
    name: str
    name_is_unique: bool
    nodes: int
    port: int
    release: str
    prefix: str | None
    accounting: bool = False
    debian: str | None = None
    """The release in whose chroot this cluster runs: see `release`."""

    @classmethod
    def load(cls, directory: Path) -> Cluster:
        """The cluster in that directory, running or not; DevclusterError if there is none."""
        path = directory / "cluster.json"
        try:
            facts = json.loads(path.read_text())
            return cls(**(facts | {"directory": directory}))
        except (FileNotFoundError, NotADirectoryError):
            raise DevclusterError(f"{directory}: no cluster here (no {path.name})") from None
        except (OSError, ValueError, TypeError) as error:
            raise DevclusterError(f"{path}: cannot be read: {error}") from error

    def save(self) -> None:
        """Write cluster.json."""
        text = json.dumps(asdict(self), default=str, indent=2) + "\n"
        (self.directory / "cluster.json").write_text(text)

    @property
    def conf(self) -> Path:
        """slurm.conf."""
        return self.directory / "etc" / "slurm.conf"

    @property
    def node_names(self) -> list[str]:
        """The nodes' names, csx1 onwards."""
        return [f"csx{number}" for number in range(1, self.nodes + 1)]

    @property
    def daemon_names(self) -> list[str]:
        """The daemons' names, as used for their logs and their records in DIR/run."""
        databases = ["mariadbd", "slurmdbd"] if self.accounting else []
        return ["munged", *databases, "slurmctld", *(f"slurmd-{node}" for node in self.node_names)]

    def log(self, name: str) -> Path:
        """The log file of a daemon."""
        return self.directory / "log" / f"{name}.log"

    def flag(self, fault: str, node: str) -> Path:
        """The file by which a script of the cluster knows that it is to misbehave on a node."""
        return self.directory / "flags" / fault / node

    def client_environment(self) -> dict[str, str]:
        """What a client of this cluster needs in its environment."""
        found = {"SLURM_CONF": str(self.conf), "CSX_DEVCLUSTER": str(self.directory)}
        if self.prefix:
            path = os.environ.get("PATH", os.defpath)
            found["PATH"] = f"{self.prefix}/bin:{self.prefix}/sbin:{path}"
        return found

    def slurm(self, *command: str, timeout: float = 120) -> str:
        """Run one of Slurm's commands against this cluster and return what it printed."""
        program = find_program(command[0], self.prefix) or command[0]
        try:
            done = subprocess.run(
                [program, *command[1:]],
                # A client whose slurmctld is gone tries for 50 s more. (There are no threads here.)
                preexec_fn=die_with_parent(),
                env=os.environ | self.client_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DevclusterError(f"{shlex.join(command)}: {error}") from error
        if done.returncode != 0:
            raise DevclusterError(f"{shlex.join(command)}: {done.stderr.strip() or done.stdout}")
        return done.stdout

    def node_states(self, timeout: float = 120) -> dict[str, str]:
        """Each node's state as sinfo prints it (`idle`, `down*`, …)."""
        rows = self.slurm("sinfo", "-h", "-N", "-o", "%N %T", timeout=timeout).splitlines()
        return dict(row.split(maxsplit=1) for row in rows)

    def recorded(self, name: str) -> Process | None:
        """The daemon of that name, or `keeper`, if it is alive."""
        if name == "keeper":
            return read_recorded(self.directory / "keeper.lock")
        return read_recorded(self.directory / "run" / f"{name}.process")

    def steps(self) -> list[Step]:
        """Every slurmstepd of this cluster, found by the socket it has in its node's spool."""
        spool = f"{self.directory}/spool/"
        sockets: dict[str, str] = {}
        for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]:
            *_, inode, path = line.split(maxsplit=7)
            if path.startswith(spool):
                sockets[f"socket:[{inode}]"] = path.removeprefix(spool)
        return [
            Step(pid, match[1], int(match[2]), SPECIAL_STEPS.get(int(match[3]), match[3]))
            for pid in (read_processes() if sockets else ())
            for file in open_files(pid)
            if (match := re.fullmatch(r"(.+)/\1_(\d+)\.(\d+)(\.\d+)?", sockets.get(file, "")))
        ]

    def members(self) -> list[Process]:
        """Everything alive that belongs to this cluster, except its keeper and this process."""
        keeper = self.recorded("keeper")
        if keeper is None:
            return self.strays()
        processes = read_processes()
        below = descendants([keeper.pid], processes) - {keeper.pid, os.getpid()}
        return [processes[pid] for pid in below]

    def strays(self) -> list[Process]:
        """The same without the keeper's help: what is left if it was killed."""
        processes = read_processes()
        roots = {process.pid for process in map(self.recorded, self.daemon_names) if process}
        roots |= {step.pid for step in self.steps()}
        if self.name_is_unique:
            roots |= {pid for pid in processes if self._node_of(pid)}
        return [processes[pid] for pid in descendants(roots, processes) - {os.getpid()}]

    def on_node(self, node: str) -> list[Process]:
        """Everything alive on that node: slurmd, its scripts, slurmstepds and all job processes.

        A process whose slurmstepd is dead has lost its place in the tree; then its environment
        tells (only `down` finds one that has emptied that, too).
        """
        processes = read_processes()
        roots = {step.pid for step in self.steps() if step.node == node}
        roots |= {member.pid for member in self.members() if self._node_of(member.pid) == node}
        if slurmd := self.recorded(f"slurmd-{node}"):
            roots.add(slurmd.pid)
        return [processes[pid] for pid in descendants(roots, processes) - {os.getpid()}]

    def _node_of(self, pid: int) -> str | None:
        """The node of this cluster that a job's process says it runs on."""
        environment = environment_of(pid)
        if environment.get("SLURM_CLUSTER_NAME") != self.name:
            return None
        return environment.get("SLURMD_NODENAME")

    def tear_down(self) -> int:
        """End everything that belongs to the cluster; how many processes that were.

        The keeper does it, so that it is done even if this process is killed meanwhile.
        """
        ended = len(self.members())
        if keeper := self.recorded("keeper"):
            keeper.signal(signal.SIGTERM)
            keeper.signal(signal.SIGCONT)
            try:
                poll("the keeper's end", lambda: not keeper.alive, 120)
            except DevclusterError:
                # Stopped, it can start nothing more, and is still the parent of what there is.
                keeper.signal(signal.SIGSTOP)
                kill_all(self.members)
                keeper.kill()
        kill_all(self.members)
        for path in (self.directory / "keeper.sock", *(self.directory / "run").glob("*")):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        return ended
