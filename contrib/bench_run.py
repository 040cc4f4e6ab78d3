"""Benchmarks on a real cluster. What is compared is measured within one run, in turns."""

import argparse
import itertools
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from contrib import (
    bench_files,
    bench_journal,
    bench_lists,
    bench_recovery,
    bench_scan,
    bench_start,
    bench_storm,
)
from contrib.testing.dev_cluster import missing
from contrib.testing.managed_cluster import KNOWN_CAUSE, ManagedCluster
from contrib.testing.waiting import await_
from slurm_restart.core.job_comment import CommentRecord, format_comment

# A trainer that writes down when it starts and when it fails.
PAYLOAD = "sh -c 'date +start:%s.%N >> times; sleep 2; {then}date +fail:%s.%N >> times; exit 1'"
PLAIN = "date +start:%s.%N >> times; sleep 2; date +fail:%s.%N >> times"


def latencies(times: Path) -> list[float]:
    """Seconds from each failure to the start after it."""
    marks = re.findall(r"(start|fail):([\d.]+)", times.read_text())
    pairs = itertools.pairwise(marks)
    return [
        float(after) - float(before)
        for (kind, before), (next_kind, after) in pairs
        if (kind, next_kind) == ("fail", "start")
    ]


def starts(times: Path) -> int:
    """How often the trainer has started."""
    return times.read_text().count("start") if times.exists() else 0


def plugin_latency(cluster: ManagedCluster, count: int, then: str = "") -> list[float]:
    """Failures of a managed run, one after the other; `then` is run before each."""
    times = cluster.work / "times"
    times.unlink(missing_ok=True)
    command = PAYLOAD.format(then=then)
    config = cluster.config(command=command, nodes=2, min_nodes=2, restarts=count)
    [job_id] = cluster.csx_sbatch(config)
    await_(lambda: starts(times) > count, "the last restart", timeout=30 * count)
    cluster.run("scancel", str(job_id))
    return latencies(times)


def requeue_latency(cluster: ManagedCluster) -> list[float]:
    """`scontrol requeue` of a failing job, by its owner, at the end of its own script."""
    times = cluster.work / "times"
    times.unlink(missing_ok=True)
    text = f"{PLAIN}\nscontrol requeue $SLURM_JOB_ID; sleep 30"
    job_id = cluster.submit(text, "-N2", "--exclusive", "--requeue")
    await_(lambda: starts(times) > 1, "the requeued start", timeout=300)
    cluster.run("scancel", str(job_id))
    return latencies(times)


def node_fail_latency(cluster: ManagedCluster) -> list[float]:
    """Slurm's own requeue after a node was set down under a job."""
    times = cluster.work / "times"
    times.unlink(missing_ok=True)
    text = "date +start:%s.%N >> times; sleep 600"
    job_id = cluster.submit(text, "-N2", "--exclusive", "--requeue")
    await_(lambda: starts(times) == 1, "the start")
    node = cluster.nodes_of(job_id)[1]
    with times.open("a") as file:
        file.write(f"fail:{time.time()}\n")
    cluster.fault("node-down", node)
    await_(lambda: starts(times) > 1, "Slurm's own restart", timeout=300)
    cluster.run("scancel", str(job_id))
    return latencies(times)


def restart_latency(count: int) -> dict[str, object]:
    """Failure to the first line of the new attempt, with default parameters."""
    policy = {"backoff": [0], "outside_backoff": 0, "short_wait": 0}
    with ManagedCluster(nodes=4, policy=policy, recovery=None) as cluster:
        ours = plugin_latency(cluster, count, f'echo "{KNOWN_CAUSE}"; ')
        cluster.heal()
        moved = plugin_latency(cluster, count)
        cluster.heal()
        requeue = requeue_latency(cluster)
        cluster.heal()
        node_fail = node_fail_latency(cluster)
    median = statistics.median(ours)
    return {
        "slurm_restart": summary(ours),
        "slurm_restart, no cause known and other nodes free": summary(moved),
        "scontrol requeue": summary(requeue),
        "NODE_FAIL requeue": summary(node_fail),
        "requeue / slurm_restart": round(statistics.median(requeue) / median, 1),
        "NODE_FAIL / slurm_restart": round(statistics.median(node_fail) / median, 1),
    }


def summary(values: list[float]) -> dict[str, float | int]:
    """Count, median and extremes in seconds."""
    return {
        "n": len(values),
        "median_s": round(statistics.median(values), 3),
        "min_s": round(min(values), 3),
        "max_s": round(max(values), 3),
    }


def timed(command: list[str], env: dict[str, str]) -> float:
    """Seconds that a program takes."""
    begun = time.perf_counter()
    subprocess.run(command, env=env, check=False, stdin=subprocess.DEVNULL)
    return time.perf_counter() - begun


def hook_cost(count: int) -> dict[str, object]:
    """The hook for an unmanaged job beside /bin/true, in turns."""
    with ManagedCluster(nodes=1) as cluster:
        hook = str(cluster.hook)
        env = {"SLURM_JOB_ID": "1", "SLURM_JOB_COMMENT": "somebody's own comment"}
        for_hook, for_true = [], []
        for _ in range(count * 20):
            for_hook.append(timed([hook], env))
            for_true.append(timed(["/bin/true"], env))
    difference = statistics.median(for_hook) - statistics.median(for_true)
    return {
        "hook": summary(for_hook),
        "/bin/true": summary(for_true),
        "difference_ms": round(difference * 1000, 3),
    }


def decide(count: int) -> dict[str, object]:
    """From the start of the hook by slurmctld to the decision on disk, in observe mode."""
    with ManagedCluster(nodes=2, mode="observe") as cluster:
        comment = format_comment(
            CommentRecord(run="0" * 16, max_restarts=3, num_nodes=1, min_nodes=1)
        )
        note_start(cluster)
        taken = []
        for _ in range(count):
            job_id = cluster.submit("exit 3", "-N1", "--comment", comment)
            cluster.await_state(job_id, "FAILED")
            if not cluster.ends(job_id):
                raise SystemExit(f"bench: nothing was decided: {cluster.hook_log()}")
            began = int((cluster.state_dir / f"began.{job_id}").read_text())
            [journal] = cluster.state_dir.glob(f"journal/*/{job_id}-*.jsonl")
            # In observe mode only the decision is written.
            taken.append((journal.stat().st_mtime_ns - began) / 1e9)
    return {"decide": summary(taken)}


def note_start(cluster: ManagedCluster) -> None:
    """Let the hook's start be written to a file for each job, in ns since the epoch."""
    hook = cluster.hook.rename(cluster.hook.with_name("csx-epilog.itself"))
    note = f"date +%s%N >{cluster.state_dir}/began.$SLURM_JOB_ID"
    cluster.hook.write_text(f"#!/bin/sh\n/usr/bin/{note}\nexec {hook}\n")
    cluster.hook.chmod(0o755)


BENCHMARKS: dict[str, Callable[[int], dict[str, object]]] = {
    "restart-latency": restart_latency,
    "hook-cost": hook_cost,
    "decide": decide,
    "recovery": bench_recovery.bench,
}


WITHOUT_CLUSTER = ("scan", "start", "journal", "files", "lists")


def print_storm(jobs: int, args: argparse.Namespace) -> None:
    """Run the storm, or the throughput of unmanaged jobs, and print the figures."""
    if args.unmanaged:
        print(
            json.dumps(
                {
                    "unmanaged jobs a second": bench_storm.throughput(
                        args.unmanaged, args.nodes, args.seconds
                    )
                },
                indent=2,
            )
        )
        return
    result = bench_storm.bench(jobs, args.nodes, 600.0)
    about = (
        f"{bench_storm.version()}, {bench_storm.cpu_count()} CPUs, load {bench_storm.load():.1f}"
    )
    print(json.dumps(result, indent=2) if args.json else f"{about}\n{bench_storm.table(result)}")


def main() -> int:
    """Run one benchmark, or all; print JSON."""
    parser = argparse.ArgumentParser(prog="contrib/bench", description=__doc__)
    parser.add_argument("name", choices=[*BENCHMARKS, *WITHOUT_CLUSTER, "storm", "all"])
    parser.add_argument(
        "-n", type=int, help="measurements (default 20), jobs of the storm (default 300)"
    )
    parser.add_argument("--nodes", type=int, default=64, help="of the storm (default 64)")
    parser.add_argument(
        "--unmanaged", type=int, metavar="JOBS", help="storm: throughput of so many other jobs"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=8,
        help="how long each of them runs (default 8: the places of 16 nodes set the rate then; "
        "0: the CPUs of this machine do)",
    )
    parser.add_argument("--json", action="store_true", help="storm: JSON in place of a table")
    parser.add_argument(
        "--size", type=int, default=1000, help="MiB of the log to scan (default 1000)"
    )
    args = parser.parse_args()
    jobs = args.n or 300
    args.n = args.n or 20
    if args.name in ("scan", "all"):
        result = bench_scan.bench(args.size << 20, min(args.n, 5))
        print(json.dumps({"scan": result}, indent=2), flush=True)
    if args.name in ("start", "all"):
        print(bench_start.bench(args.n), flush=True)
    if args.name in ("journal", "all"):
        print(json.dumps({"journal": bench_journal.bench(min(args.n, 5))}, indent=2), flush=True)
    if args.name in ("lists", "all"):
        print(json.dumps({"lists": bench_lists.bench(min(args.n, 10))}, indent=2), flush=True)
    if args.name in ("files", "all"):
        print(bench_files.bench(60.0), flush=True)
    if args.name in WITHOUT_CLUSTER:
        return 0
    if reason := missing():
        print(f"bench: {reason}", file=sys.stderr)
        return 3
    if args.name == "storm":
        print_storm(jobs, args)
        return 0
    names = list(BENCHMARKS) if args.name == "all" else [args.name]
    for name in names:
        print(json.dumps({name: BENCHMARKS[name](args.n)}, indent=2), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
