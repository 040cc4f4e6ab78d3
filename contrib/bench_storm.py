"""Many managed jobs fail within one second: beside /bin/true and a plain requeue as the hook.

All three run on the same cluster, one after the other. Also: the throughput of unmanaged jobs.
"""

import contextlib
import os
import statistics
import subprocess
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

CPUS = 8
TRUE = "#!/bin/sh\nexit 0\n"
PLAIN = """\
#!/bin/sh
[ "$SLURM_JOB_EXIT_CODE2" = 0:0 ] || SLURM_CONF={conf} exec {bin}/scontrol requeue $SLURM_JOB_ID
"""
COSTLY = ("python", "squeue", "scontrol", "scancel", "sinfo")
"""Names of processes that cost something: Python and Slurm's commands. In others an end waits."""
IDLE = 8.0
"""Seconds of measurement before the storm."""
SWEEP = 30.0
"""Seconds between two sweeps of the reconciler, as by its timer."""
ARRAY = 1000
"""Jobs of an array: Slurm's default of MaxArraySize allows no more."""


@dataclass(kw_only=True)
class Storm:
    """What one hook made of a storm; times in seconds."""

    hook: str
    jobs: int
    pending_s: float | None = None
    """Until every job was requeued, and out of COMPLETING."""
    decided_s: float | None = None
    """Until every end was in its journal."""
    restarted_s: float | None = None
    """Until every job had run again to its end."""
    lost: int = 0
    dependents_cancelled: int = 0
    processes: int = 0
    """Python and Slurm's commands at the same time, at most."""
    waiting_shells: int = 0
    pss_mb: float = 0.0
    """Memory of all processes of the hook at the same time, at most."""
    idle_sbatch: dict[str, float] = field(default_factory=dict)
    sbatch: dict[str, float] = field(default_factory=dict)
    ping: dict[str, float] = field(default_factory=dict)


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50, p99 and the count."""
    if len(values) < 2:
        return {"p50": 0.0, "p99": 0.0, "n": float(len(values))}
    p99 = sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]
    return {
        "p50": round(statistics.median(values), 3),
        "p99": round(p99, 3),
        "n": float(len(values)),
    }


# --- what is measured meanwhile ------------------------------------------------------------------


class Bystander(threading.Thread):
    """Somebody else's sbatch and scontrol ping, again and again until it is stopped."""

    def __init__(self, cluster: ManagedCluster) -> None:
        super().__init__(daemon=True)
        self._cluster, self._script = cluster, str(cluster.script("exit 0"))
        self.stopped = threading.Event()
        self.sbatch: list[float] = []
        self.ping: list[float] = []
        self.start()

    def run(self) -> None:
        """Measure until it is stopped."""
        submit = ("sbatch", "-H", "--parsable", "-n1", "-o", "/dev/null", self._script)
        while not self.stopped.is_set():
            self.ping.append(self._timed("scontrol", "ping"))
            self.sbatch.append(self._timed(*submit))
            self.stopped.wait(0.2)

    def _timed(self, *command: str) -> float:
        began = time.monotonic()
        self._cluster.run(*command)
        return time.monotonic() - began

    def stop(self) -> None:
        """Wait for the last command."""
        self.stopped.set()
        self.join()


class Processes(threading.Thread):
    """Counts the processes of the hook, and their memory, until it is stopped."""

    def __init__(self, cluster: ManagedCluster) -> None:
        super().__init__(daemon=True)
        self._site = str(cluster.site_dir).encode()
        pid_file = cluster.root / "run" / "slurmctld.pid"
        self._slurmctld = int(pid_file.read_text())
        self.stopped = threading.Event()
        self.most, self.most_shells, self.most_kb = 0, 0, 0
        self.start()

    def run(self) -> None:
        """Count until it is stopped."""
        turn = 0
        while not self.stopped.is_set():
            found = self._hooks()
            costly = sum(name.startswith(COSTLY) for name in found.values())
            self.most = max(self.most, costly)
            self.most_shells = max(self.most_shells, len(found) - costly)
            if turn % 5 == 0:
                self.most_kb = max(self.most_kb, sum(map(pss_kb, found)))
            turn += 1
            self.stopped.wait(0.2)

    def _hooks(self) -> dict[int, str]:
        """Return the names of all processes of the hook: slurmctld's children, and the helper."""
        parents: dict[int, int] = {}
        names: dict[int, str] = {}
        helpers: set[int] = set()
        for name in os.listdir("/proc"):  # noqa: PTH208 - quick, as it measures others
            if not name.isdecimal():
                continue
            with contextlib.suppress(OSError):
                head, _, rest = Path(f"/proc/{name}/stat").read_text().rpartition(")")
                pid = int(name)
                parents[pid], names[pid] = int(rest.split()[1]), head.partition("(")[2]
                if self._site in Path(f"/proc/{name}/cmdline").read_bytes():
                    helpers.add(pid)
        # slurmscriptd is slurmctld's child that runs the hook on newer releases.
        roots = {self._slurmctld} | {
            pid for pid, name in names.items() if name.startswith(("slurmctld", "slurmscriptd"))
        }
        return {
            pid: names[pid]
            for pid in names
            if pid not in roots and (helpers | roots) & set(lineage(pid, parents))
        }

    def stop(self) -> None:
        """Wait for the last count."""
        self.stopped.set()
        self.join()


def lineage(pid: int, parents: dict[int, int]) -> list[int]:
    """Return a process and all above it."""
    found = [pid]
    while (pid := parents.get(pid, 0)) > 1:
        found.append(pid)
    return found


def pss_kb(pid: int) -> int:
    """Return the proportional set size of a process."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(rollup.partition("Pss:")[2].split()[0])
    except (OSError, IndexError):
        return 0


# --- a storm -------------------------------------------------------------------------------------


def storm(cluster: ManagedCluster, hook: str, count: int, limit: float) -> Storm:
    """Let that many jobs fail at once under a hook."""
    install(cluster, hook)
    fifo = cluster.work / f"go{len(list(cluster.work.iterdir()))}"
    os.mkfifo(fifo)
    fifo.chmod(0o644)
    jobs, dependents = submit(cluster, fifo, count)
    await_(lambda: running(cluster) >= count, "all jobs running", timeout=limit, interval=1)
    first = rows(cluster)
    result = Storm(hook=hook, jobs=count)
    idle = Bystander(cluster)
    time.sleep(IDLE)  # the time of the measurement itself
    idle.stop()
    result.idle_sbatch = percentiles(idle.sbatch)
    bystander, processes = Bystander(cluster), Processes(cluster)
    began = time.monotonic()
    # All that wait to open it for reading go on at once.
    writer = os.open(fifo, os.O_RDWR)
    follow(cluster, result, first, jobs, began + limit)
    os.close(writer)
    bystander.stop()
    processes.stop()
    result.sbatch, result.ping = percentiles(bystander.sbatch), percentiles(bystander.ping)
    result.processes, result.waiting_shells = processes.most, processes.most_shells
    result.pss_mb = round(processes.most_kb / 1024, 1)
    states = {job_id: state for job_id, (state, _) in rows(cluster).items()}
    result.lost = sum(
        states.get(job_id, "") not in {"PENDING", "RUNNING", "COMPLETED"} for job_id in jobs
    )
    result.dependents_cancelled = sum(states.get(job_id) == "CANCELLED" for job_id in dependents)
    cluster.mend()
    return result


def install(cluster: ManagedCluster, hook: str) -> None:
    """Put a hook into the place of the one that slurmctld runs."""
    cluster.install_hook()
    if hook != "slurm_restart":
        text = TRUE if hook == "/bin/true" else PLAIN.format(conf=cluster.conf, bin=cluster.bin_dir)
        new = cluster.hook.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o755)
        new.replace(cluster.hook)


def submit(cluster: ManagedCluster, fifo: Path, count: int) -> tuple[list[int], list[int]]:
    """Submit managed jobs that wait for the FIFO, fail, and then succeed; with dependents."""
    fails_once = f'[ -z "$SLURM_RESTART_COUNT" ] || exit 0\n: <{fifo}\nexit 3'
    script = str(cluster.script(fails_once))
    after = str(cluster.script("exit 0"))
    options = ("--parsable", "-n1", "--mem=0", "-o", "/dev/null")
    jobs, dependents = [], []
    for number in range(count):
        comment = f"csx-restart/1 run={number:016x};max=3;num=1;min=1"
        out = cluster.run("sbatch", *options, "--requeue", f"--comment={comment}", script)
        jobs.append(int(out.partition(";")[0]))
        if number % 10 == 0:
            depends = (f"-dafterok:{jobs[-1]}", "--kill-on-invalid-dep=yes")
            dependents.append(
                int(cluster.run("sbatch", *options, *depends, after).partition(";")[0])
            )
    return jobs, dependents


def rows(cluster: ManagedCluster) -> dict[int, tuple[str, str]]:
    """Return state and SubmitTime of all jobs."""
    out = cluster.run("squeue", "-h", "-a", "-t", "all", "-o", "%i|%T|%V", as_root=True)
    fields = (line.split("|") for line in out.splitlines())
    return {int(job_id): (state, submitted) for job_id, state, submitted in fields}


def running(cluster: ManagedCluster) -> int:
    """Return how many jobs are RUNNING."""
    return sum(state == "RUNNING" for state, _ in rows(cluster).values())


def follow(
    cluster: ManagedCluster,
    result: Storm,
    first: dict[int, tuple[str, str]],
    jobs: list[int],
    until: float,
) -> None:
    """Fill in when the jobs were decided, requeued and done."""
    began, swept_at = time.monotonic(), 0.0
    sweep: threading.Thread | None = None
    while time.monotonic() < until:
        time.sleep(0.5)  # more queries would be a part of the load that is measured
        taken = round(time.monotonic() - began, 1)
        now = rows(cluster)
        shown = [now.get(job_id, ("GONE", "")) for job_id in jobs]
        # A job gets another SubmitTime when it is requeued and leaves COMPLETING.
        requeued = [
            submitted != first[job_id][1]
            for job_id, (_, submitted) in zip(jobs, shown, strict=True)
        ]
        states = Counter(state for state, _ in shown)
        print(
            f"{result.hook}: {taken:6.1f} s: {sum(requeued)} requeued, {dict(states)}", flush=True
        )
        if result.hook == "/bin/true":
            if states["FAILED"] == len(jobs):
                return
            continue
        if result.pending_s is None and all(requeued):
            result.pending_s = taken
        if result.hook == "plain requeue":
            if result.pending_s is not None:
                return
            continue
        if result.decided_s is None and len(
            list(cluster.state_dir.glob("journal/*/*.jsonl"))
        ) >= len(jobs):
            result.decided_s = taken
        if states["COMPLETED"] == len(jobs):
            result.restarted_s = taken
            return
        # systemd starts no sweep beside one that runs.
        if taken - swept_at > SWEEP and not (sweep is not None and sweep.is_alive()):
            swept_at = taken
            sweep = threading.Thread(target=cluster.reconcile, daemon=True)
            sweep.start()


def bench(count: int, nodes: int, limit: float) -> dict[str, Any]:
    """Run the storm under the three hooks."""
    if count > nodes * CPUS:
        raise SystemExit(f"bench: {nodes} nodes of {CPUS} CPUs run no {count} jobs at once")
    policy = {"backoff": [1, 1, 1], "outside_backoff": 0, "short_wait": 0}
    options = ("--cpus", str(CPUS), "--partition-set", "OverSubscribe=NO")
    with ManagedCluster(nodes=nodes, policy=policy, hook=NO_PATIENCE, options=options) as cluster:
        hooks = ("/bin/true", "plain requeue", "slurm_restart")
        found = {hook: asdict(storm(cluster, hook, count, limit)) for hook in hooks}
        # Else the last of them writes into a directory that is gone.
        cluster.await_helper()
        return found


NO_PATIENCE = {
    "deadline": 30.0,
    "command_timeout": 10.0,
    "queue_timeout": 60.0,
    "helper_timeout": 90.0,
}
"""The package's defaults, in place of those for tests."""


def table(result: dict[str, Any]) -> str:
    """Return the storms as a table, a column for each hook."""
    names = [name for name in next(iter(result.values())) if name != "hook"]
    rows = ([name, *(_cell(storm[name]) for storm in result.values())] for name in names)
    lines = [["", *result], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return f"p50 {value.get('p50')} p99 {value.get('p99')} (n {value.get('n', 0):.0f})"
    return "-" if value is None else str(value)


# --- unmanaged jobs ------------------------------------------------------------------------------


def throughput(count: int, nodes: int, seconds: float) -> dict[str, Any]:
    """Return unmanaged jobs a second, and the controller's CPU time, without a hook and with it.

    In turns, on a new cluster each. `ratio` compares with no hook.

    Args:
        count: jobs with each hook.
        nodes: nodes of the cluster, each with places for `CPUS` jobs.
        seconds: how long a job runs. The places of the cluster set the rate if that is long enough.
            With 0 the CPUs of this machine do, which slurmctld shares with all nodes: a hook's
            process then costs as much as a part of a job, and CPU time is the surer figure.
    """
    rates: dict[str, list[float]] = {"no hook": [], "/bin/true": [], "slurm_restart": []}
    cpu: dict[str, list[float]] = {name: [] for name in rates}
    options = ("--cpus", str(CPUS), "--partition-set", "OverSubscribe=NO")
    for name in (*rates, *reversed(rates)):
        with ManagedCluster(nodes=nodes, options=options) as cluster:
            if name == "no hook":
                without_hook(cluster)
            else:
                install(cluster, name)
            before = controller_cpu(cluster)
            rates[name].append(_jobs_a_second(cluster, count // 2, seconds))
            cpu[name].append(1000 * (controller_cpu(cluster) - before) / (count // 2))
    found = {name: round(statistics.mean(values), 2) for name, values in rates.items()}
    return found | {
        "ratio": round(found["slurm_restart"] / found["no hook"], 4),
        "turns": {name: [round(rate, 2) for rate in values] for name, values in rates.items()},
        "places": nodes * CPUS,
        "controller's CPU ms a job": {
            name: round(statistics.mean(values), 2) for name, values in cpu.items()
        },
    }


def controller_cpu(cluster: ManagedCluster) -> float:
    """Return the CPU seconds of slurmctld, slurmscriptd and the hooks that have ended."""
    slurmctld = int((cluster.root / "run" / "slurmctld.pid").read_text())
    started = Path(f"/proc/{slurmctld}/task").glob("*/children")
    pids = [str(slurmctld), *(pid for path in started for pid in path.read_text().split())]
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    ticks = sum(int(field) for stat in stats for field in stat[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def without_hook(cluster: ManagedCluster) -> None:
    """Restart slurmctld without an EpilogSlurmctld."""
    cluster.fault("kill-ctld")
    lines = cluster.conf.read_text().splitlines(keepends=True)
    cluster.conf.write_text("".join(line for line in lines if "EpilogSlurmctld" not in line))
    cluster.fault("start-ctld")
    config = cluster.run("scontrol", "show", "config")
    if str(cluster.hook) in config:
        raise SystemExit("bench: slurmctld still has the hook")


def _jobs_a_second(cluster: ManagedCluster, count: int, seconds: float) -> float:
    script = str(cluster.script(f"exec sleep {seconds}"))
    # Held until all are submitted, so that only their run is measured.
    for first in range(0, count, ARRAY):
        size = min(ARRAY, count - first)
        cluster.run("sbatch", "-H", f"--array=0-{size - 1}", "-n1", "-o", "/dev/null", script)
    began = time.monotonic()
    cluster.run("scontrol", "release", *pending(cluster), as_root=True)
    await_(lambda: not pending(cluster), "the end of all jobs", timeout=3600, interval=0.5)
    return count / (time.monotonic() - began)


def pending(cluster: ManagedCluster) -> list[str]:
    """Return the arrays of which a job has not ended."""
    out = cluster.run("squeue", "-h", "-a", "-o", "%F", as_root=True)
    return sorted(set(out.split()))


def cpu_count() -> int:
    """Return the CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def load() -> float:
    """Return the load of the last minute: others on the machine change the figures."""
    return os.getloadavg()[0]


def version() -> str:
    """Return the release of Slurm."""
    done = subprocess.run(["slurmctld", "-V"], capture_output=True, text=True, check=True)
    return done.stdout.strip()
