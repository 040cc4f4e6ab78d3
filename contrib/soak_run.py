"""What contrib/soak does: runs, several at a time, a random fault each, and a summary of all."""

import argparse
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml

from contrib.soak_parts.check import RESTARTING, check
from contrib.soak_parts.cluster import SoakCluster
from contrib.soak_parts.faults import FAULTS
from contrib.soak_parts.run import SECOND_STEPS, Run
from contrib.testing.dev_cluster import missing
from contrib.testing.managed_cluster import EXAMPLES


def draw_runs(cluster: SoakCluster, count: int, seed: int, names: Sequence[str]) -> list[Run]:
    """The runs of a seed: every fault about as often as the others."""
    draw = random.Random(seed)
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += draw.sample(names, len(names))
    runs = []
    for number, name in enumerate(drawn[:count]):
        fault = FAULTS[name]
        runs.append(
            Run(
                number=number,
                name=name,
                fault=fault,
                cluster=cluster,
                draw=random.Random(draw.random()),
                nodes=draw.randint(fault.nodes, 3),
                phases=1 + (draw.random() < 0.3),
                most=draw.randint(0, 2) if fault.fails else 3,
            )
        )
    return runs


def undisturbed(cluster: SoakCluster) -> Path:
    """The model_dir of the same run without Slurm and without faults."""
    folder = cluster.work / "undisturbed"
    config = cluster.config("undisturbed.yaml", steps=SECOND_STEPS, every=5)
    data = yaml.safe_load(config.read_text())
    del data["slurm"], data["trainer"]["init"]["autorestart"]
    config.write_text(yaml.safe_dump(data))
    command = [sys.executable, str(EXAMPLES / "cszoo"), "fit", str(config)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, "--model_dir", str(folder)],
        check=True,
        capture_output=True,
        timeout=300,
        env=environment,
    )
    return folder


class Soak:
    """Lets the runs live, so many at a time."""

    def __init__(
        self, cluster: SoakCluster, runs: Sequence[Run], *, keep: Path | None, out: TextIO
    ) -> None:
        self._cluster, self._runs, self._keep, self._out = cluster, runs, keep, out
        self._todo: queue.SimpleQueue[Run] = queue.SimpleQueue()
        self._reference = undisturbed(cluster)
        self._begun = time.monotonic()
        self._print = threading.Lock()

    def live(self, parallel: int) -> None:
        """Return when all have ended."""
        for run in self._runs:
            self._todo.put(run)
        finished = threading.Event()
        sweeper = threading.Thread(target=self._cluster.sweep_until, args=[finished], daemon=True)
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(parallel)]
        for thread in (sweeper, *workers):
            thread.start()
        for worker in workers:
            worker.join()
        finished.set()
        sweeper.join()

    def _work(self) -> None:
        while True:
            try:
                run = self._todo.get_nowait()
            except queue.Empty:
                return
            try:
                run.live()
                run.wrong += check(run, self._reference)
            except Exception as error:  # noqa: BLE001 - counted as a wrong run
                where = traceback.extract_tb(error.__traceback__)[-1]
                run.wrong.append(f"{type(error).__name__} in {where.name}: {error}")
            self._tell(run)
            if run.wrong and self._keep:
                self._save(run, self._keep / f"run-{run.number}")

    def _tell(self, run: Run) -> None:
        chain = " -> ".join(f"{end['category']} {end['action']}" for end in run.ends())
        moment = "" if run.moment is None else f" at {run.moment:.1f} s"
        with self._print:
            print(
                f"{time.monotonic() - self._begun:6.0f} s  {'WRONG' if run.wrong else 'ok':<5}  "
                f"run {run.number}, job {run.jobs}: {run.nodes} nodes, {run.name}{moment}: {chain}",
                file=self._out,
                flush=True,
            )
            for text in run.wrong:
                print(f"{'':17}{text}", file=self._out, flush=True)

    def _save(self, run: Run, target: Path) -> None:
        """Everything that tells what happened."""
        target.mkdir(parents=True, exist_ok=True)
        folders = [self._cluster.root / "log", self._cluster.state_dir, *run.model_dir.glob("2*")]
        for folder in folders:
            shutil.copytree(folder, target / folder.name, dirs_exist_ok=True)
        if run.jobs:
            shown = [self._cluster.run("scontrol", "show", "job", str(job)) for job in run.jobs]
            (target / "jobs.txt").write_text("\n".join(shown))


def summary(runs: Sequence[Run], cluster: SoakCluster, seed: int) -> dict[str, Any]:
    """Return the results for machines."""
    table = {}
    for name in FAULTS:
        mine = [run for run in runs if run.name == name]
        if mine:
            ends = [end for run in mine for end in run.ends()]
            table[name] = {
                "runs": len(mine),
                "restarts": sum(end["action"] in RESTARTING for end in ends),
                "by_sweep": sum(end["source"] == "sweep" for end in ends),
                "wrong": sum(bool(run.wrong) for run in mine),
                "seconds": round(sum(run.seconds for run in mine) / len(mine), 1),
            }
    return {
        "seed": seed,
        "runs": len(runs),
        "faults": table,
        "sweeps": cluster.sweeps,
        "failed_sweeps": cluster.failed_sweeps,
        "wrong": {f"run {run.number}, {run.name}": run.wrong for run in runs if run.wrong},
    }


def show(results: dict[str, Any]) -> None:
    """Print the results for people."""
    columns = ("runs", "restarts", "by_sweep", "seconds", "wrong")
    print(f"\n{'fault':<28}" + "".join(f"{name:>10}" for name in columns))
    for name, row in results["faults"].items():
        print(f"{name:<28}" + "".join(f"{row[column]:>10}" for column in columns))
    for text in results["failed_sweeps"]:
        print(f"a sweep failed: {text}")
    for name, texts in results["wrong"].items():
        print(f"{name}: {'; '.join(texts)}")
    wrong = len(results["wrong"])
    print(
        f"{results['runs']} runs, seed {results['seed']}: "
        + (f"{wrong} wrong" if wrong else "none lost, none requeued twice, none restarted in vain, "
           "no dependent stranded, no process left")
    )  # fmt: skip


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="contrib/soak", description=__doc__)
    parser.add_argument("-n", type=int, default=50, help="runs (default 50)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--parallel", type=int, default=4, help="runs at a time (default 4)")
    parser.add_argument("--nodes", type=int, default=8, help="nodes of the cluster (default 8)")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only this one (again)")
    parser.add_argument("--keep", type=Path, help="where logs of runs that went wrong are put")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser.parse_args()


def main() -> int:
    """Boot, let them live, judge, take down; 0 if nothing is wrong."""
    args = arguments()
    if reason := missing():
        print(f"soak: {reason}", file=sys.stderr)
        return 3
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with SoakCluster(args.nodes) as cluster:
        runs = draw_runs(cluster, args.n, args.seed, args.fault or list(FAULTS))
        out = sys.stderr if args.json else sys.stdout
        title = f"{args.n} runs, seed {args.seed}, {args.parallel} at a time on {args.nodes} nodes"
        print(title, file=out, flush=True)
        Soak(cluster, runs, keep=args.keep, out=out).live(args.parallel)
        results = summary(runs, cluster, args.seed)
    print(json.dumps(results, indent=2)) if args.json else show(results)
    return 1 if results["wrong"] or results["failed_sweeps"] else 0


if __name__ == "__main__":
    sys.exit(main())
