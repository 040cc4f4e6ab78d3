"""Managed jobs without a trainer: each attempt of a run is a few lines of shell.

They report as a supervisor would, so that any end can be brought about within a second.
"""

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrib.testing.crash_points import CrashPoints
from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_
from slurm_restart.core.hostlist import expand

_SCRIPT = r"""
folder=@FOLDER@
attempt=0
while [ -e "$folder/started.$attempt" ]; do attempt=$((attempt + 1)); done
echo "$(date +%s) $SLURM_JOB_NODELIST" >"$folder/started.$attempt"
trap ': >"$folder/ended.$attempt"' EXIT
submitted=$(SLURM_TIME_FORMAT=%s squeue -h -j "$SLURM_JOB_ID" -o %V)
report() {
    scontrol update JobId="$SLURM_JOB_ID" Comment="csx-restart/1 @RECORD@;attempt=$attempt;\
submit=$submitted;restarts=${SLURM_RESTART_COUNT:-0};$1"
}
# A shell is not told when a file appears.
await() { until [ -e "$folder/$1" ]; do sleep 0.2; done; }
last_node() { scontrol show hostnames "$SLURM_JOB_NODELIST" | tail -n 1; }
await submitted
case $attempt in
@ATTEMPTS@
esac
"""
DONE = 'report "from=5;step=9;ended=1;exit=0;cause=completed"; exit 0'
"""An attempt that finishes the run."""


def fails(cause: str = "unknown", *, step: int = 0, nodes: str = "") -> str:
    """Return an attempt that fails with exit code 3 and reports its cause.

    Args:
        cause: the category.
        step: the step of its newest checkpoint; it started from step 0.
        nodes: the blamed nodes, as a shell word.
    """
    blame = f";rule=a.b;nodes={nodes}" if nodes else ""
    return f'report "from=0;step={step};ended=1;exit=3;cause={cause}{blame}"; exit 3'


BLAMES_LAST_NODE = fails("hardware.accelerator", nodes="$(last_node)")
RUNS_UNTIL_KILLED = 'report "from=0;step=0"; await never'


@dataclass(frozen=True)
class Attempt:
    """One start of a job. `started`: epoch seconds."""

    started: int
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class ScriptedRun:
    """A submitted job, and the folder in which its attempts leave traces."""

    cluster: ManagedCluster
    job_id: int
    run_id: str
    folder: Path

    def signal(self, name: str) -> None:
        """Let `await NAME` in its script end."""
        (self.folder / name).touch()

    def attempts(self) -> list[Attempt]:
        """Return the attempts in the order of their starts."""
        found: list[Attempt] = []
        while (path := self.folder / f"started.{len(found)}").exists():
            words = path.read_text().split()
            if not words:
                break  # being written
            found.append(Attempt(int(words[0]), expand(words[1])))
        return found

    def has_ended(self, attempt: int) -> bool:
        """Whether the script of an attempt has ended by itself."""
        return (self.folder / f"ended.{attempt}").exists()

    def await_attempt(self, number: int) -> Attempt:
        """Wait, with sweeps of the reconciler, until an attempt has started; the first is 0."""

        def started() -> bool:
            self.cluster.reconcile()
            return len(self.attempts()) > number

        await_(started, f"attempt {number} of job {self.job_id}", interval=0.5)
        return self.attempts()[number]


class ScriptedCluster(ManagedCluster):
    """A managed cluster of equal partitions `p0`, `p1` …, on which the plugin can be interrupted.

    Args:
        partitions: how many.
        per_partition: nodes of each; p0 has csx1 onwards.
        options: further options of `devcluster up`.
        settings: further arguments of ManagedCluster.
    """

    def __init__(
        self,
        *,
        partitions: int = 1,
        per_partition: int = 4,
        options: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        self.per_partition = per_partition
        self.crash_points: CrashPoints | None = None
        lines = []
        for number in range(partitions):
            first = number * per_partition + 1
            names = (
                f"csx[{first}-{first + per_partition - 1}]" if per_partition > 1 else f"csx{first}"
            )
            shared = "OverSubscribe=EXCLUSIVE MaxTime=INFINITE State=UP"
            lines += ["--extra-line", f"PartitionName=p{number} Nodes={names} {shared}"]
        # A begin time that has passed wakes up the main scheduler only, not backfill.
        often = ("--set", "SchedulerParameters=sched_interval=2")
        options = (*often, *lines, *options)
        super().__init__(nodes=partitions * per_partition, options=options, **settings)
        self.crash_points = CrashPoints(
            self.directory / "crash",
            bin_dir=self.bin_dir,
            pid_file=self.root / "run" / "slurmctld.pid",
            user=self.slurm_user,
        )
        self._route_commands()

    def configure(self, **tables: Any) -> None:
        """Write site.toml, as ManagedCluster does, with the replaced commands."""
        super().configure(**tables)
        self._route_commands()

    def _route_commands(self) -> None:
        if self.crash_points is None:
            return  # The constructor of ManagedCluster writes site.toml before they exist.
        text = self.site.read_text()
        new = self.site.with_suffix(".new")
        new.write_text(text.replace(f'"{self.bin_dir}"', f'"{self.crash_points.bin_dir}"'))
        new.replace(self.site)

    def partition_nodes(self, number: int) -> tuple[str, ...]:
        """Return the nodes of a partition."""
        first = number * self.per_partition
        return self.node_names[first : first + self.per_partition]

    def submit_run(
        self,
        *attempts: str,
        nodes: int = 1,
        min_nodes: int | None = None,
        max_restarts: int = 3,
        fields: str = "",
        options: Sequence[str] = (),
        geometry: Sequence[str] | None = None,
        phase_of: ScriptedRun | None = None,
    ) -> ScriptedRun:
        """Submit a run that does nothing before `signal("submitted")`.

        Args:
            attempts: the shell commands of each attempt; the last stands for all later ones.
            nodes: its size.
            min_nodes: its smallest size; None: its size.
            max_restarts: restarts without progress that are allowed.
            fields: further fields of the comment record, `exclude=60`.
            options: of sbatch.
            geometry: options of sbatch that give the size; None: `nodes` whole nodes.
            phase_of: the run whose second phase this is, which depends on its success.
        """
        run_id = phase_of.run_id if phase_of else secrets.token_hex(8)
        record = f"run={run_id};max={max_restarts};num={nodes};min={min_nodes or nodes}"
        dependency: tuple[str, ...] = ()
        if phase_of:
            record += ";phase=1"
            dependency = (f"--dependency=afterok:{phase_of.job_id}", "--kill-on-invalid-dep=yes")
        record += f";{fields}" if fields else ""
        folder = self.work / f"run-{run_id}-{'1' if phase_of else '0'}"
        folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, self.user.pw_uid, self.user.pw_gid)
        job_id = self.submit(
            _script(folder, record, attempts),
            *("--requeue", "--open-mode=append"),
            *((f"--nodes={nodes}", "--exclusive") if geometry is None else geometry),
            f"--output={folder}/output.log",
            f"--comment=csx-restart/1 {record}",
            *dependency,
            *options,
        )
        if self.crash_points:
            self.crash_points.record(job_id)
        return ScriptedRun(self, job_id, run_id, folder)


def _script(folder: Path, record: str, attempts: Sequence[str]) -> str:
    cases = [f"{number}) {text} ;;" for number, text in enumerate(attempts[:-1])]
    cases.append(f"*) {attempts[-1]} ;;")
    text = _SCRIPT.replace("@FOLDER@", str(folder)).replace("@RECORD@", record)
    return text.replace("@ATTEMPTS@", "\n".join(cases))
