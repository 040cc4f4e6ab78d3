"""What contrib/demo shows: submit, kill, watch, and compare the final weights."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contrib.testing.checkpoints import same_weights
from contrib.testing.dev_cluster import missing
from contrib.testing.managed_cluster import EXAMPLES, ManagedCluster

STEPS, EVERY, PACE = 200, 10, 0.1
COLOUR = {"fault": "31;1", "hook": "36", "run": "32", "slurm": "33", "proof": "1"}
BEGUN = time.monotonic()
TIMEOUT = 90


def say(who: str, text: str) -> None:
    """One line of the timeline."""
    stamp = f"{time.monotonic() - BEGUN:6.1f} s"
    plain = f"{who:<6}"
    if sys.stdout.isatty():
        plain = f"\033[{COLOUR[who]}m{plain}\033[0m"
    print(f"{stamp}  {plain} {text}", flush=True)


class Timeline:
    """Shows what is new: Slurm's state of the job, the hook's decisions, the run's own log."""

    def __init__(self, cluster: ManagedCluster, job_id: int) -> None:
        self._cluster, self._job_id = cluster, job_id
        self._state = ""
        self._events = 0
        self._lines = 0
        self._swept = 0.0

    def look(self) -> str:
        """Print what is new; returns the job's state."""
        cluster, job_id = self._cluster, self._job_id
        shown = cluster.run("squeue", "-h", "-a", "-t", "all", "-j", str(job_id), "-o", "%T %N %r")
        state = shown.split()[0] if shown else "?"
        if shown.strip() != self._state:
            self._state = shown.strip()
            say("slurm", f"job {job_id}: {self._state}")
        events = cluster.journal(job_id)
        for event in events[self._events :]:
            self._show(event)
        self._events = len(events)
        folders = sorted(cluster.work.glob("model_dir/*_restartable/run.log"))
        lines = folders[-1].read_text().splitlines() if folders else []
        for line in lines[self._lines :]:
            say("run", line)
        self._lines = len(lines)
        if time.monotonic() - self._swept > 2:  # what the systemd timer does on a site
            cluster.reconcile()
            self._swept = time.monotonic()
        return state

    def _show(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "end":
                say(
                    "hook",
                    f"{event['category']} ({event['rule']}) -> {event['action']}: "
                    f"{event['reason']}",
                )
            case "exclude":
                say("hook", f"excludes {event['node']}: {event['evidence']}")
            case "outcome" if event.get("failed"):
                say("hook", f"Slurm refused: {event['failed']}")

    def until(self, condition: Callable[[str], object], what: str) -> None:
        """Show the timeline until the condition holds for the job's state."""
        deadline = time.monotonic() + TIMEOUT
        while not condition(self.look()):
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"demo: {what}: not within {TIMEOUT} s\n{self._cluster.hook_log()}"
                )
            time.sleep(0.2)  # the pace of the display


def undisturbed(cluster: ManagedCluster, config: Path) -> Path:
    """The final checkpoint of the same run without Slurm and without faults."""
    import yaml  # noqa: PLC0415

    data = yaml.safe_load(config.read_text())
    del data["slurm"], data["trainer"]["init"]["autorestart"]
    plain = cluster.work / "undisturbed.yaml"
    plain.write_text(yaml.safe_dump(data))
    folder = cluster.work / "undisturbed"
    command = [sys.executable, str(EXAMPLES / "cszoo"), "fit", str(plain)]
    subprocess.run(
        [*command, "--model_dir", str(folder)], check=True, capture_output=True, timeout=120
    )
    return folder / f"checkpoint_{STEPS}.mdl"


def steps_saved(cluster: ManagedCluster) -> int:
    """The newest checkpoint's step."""
    names = (cluster.work / "model_dir").glob("checkpoint_*.mdl")
    return max((int(name.stem.split("_")[1]) for name in names), default=0)


def attempts(cluster: ManagedCluster) -> int:
    """The attempts so far."""
    return len([*cluster.run_dir().glob("attempts/*")])


def run_with_faults(cluster: ManagedCluster) -> bool:
    """Submit, break things three times, and compare."""
    config = cluster.config(steps=STEPS, every=EVERY, nodes=4, min_nodes=2)
    reference = undisturbed(cluster, config)
    say("proof", f"an undisturbed run of {STEPS} steps: {reference.name}")
    [job_id] = cluster.csx_sbatch(config)
    say("slurm", f"csx-sbatch {config.name}: submitted batch job {job_id}, 4 of 6 nodes")
    timeline = Timeline(cluster, job_id)

    def faulty(title: str, at_step: int, break_it: Callable[[], None]) -> None:
        timeline.until(
            lambda state: state == "RUNNING" and steps_saved(cluster) >= at_step, f"step {at_step}"
        )
        before = attempts(cluster)
        say("fault", title)
        break_it()
        timeline.until(
            lambda state: state == "RUNNING" and attempts(cluster) > before, "the restart"
        )

    def node(index: int) -> str:
        nodes = cluster.run(
            "scontrol",
            "show",
            "hostnames",
            cluster.run("squeue", "-h", "-j", str(job_id), "-o", "%N").strip(),
        )
        return nodes.split()[index]

    faulty("kill -9 of a rank", EVERY, lambda: cluster.fault("kill-step", node(2)))
    faulty(
        "kill -9 of everything on a node: it is gone",
        60,
        lambda: cluster.fault("kill-slurmd", node(1)),
    )
    faulty(
        "kill -9 of everything on the batch host, supervisor and all",
        110,
        lambda: cluster.fault("kill-slurmd", node(0)),
    )
    timeline.until(lambda state: state not in {"RUNNING", "PENDING", "COMPLETING"}, "the end")
    timeline.look()
    final = cluster.work / "model_dir" / f"checkpoint_{STEPS}.mdl"
    print()
    print(cluster.run("csx-restart", "explain", str(job_id)))
    identical = final.exists() and same_weights(final, reference)
    state = cluster.state(job_id)
    comparison = "identical to" if identical else "NOT identical to"
    say(
        "proof",
        f"job {job_id} {state}, {attempts(cluster) - 1} restarts, final weights "
        f"{comparison} those of the undisturbed run, bit for bit",
    )
    return identical and state == "COMPLETED"


def main() -> int:
    """Boot, show, take down; 0 if the run ended as it should."""
    if reason := missing():
        print(f"demo: {reason}", file=sys.stderr)
        return 3
    if os.environ.get("NO_COLOR"):
        COLOUR.update(dict.fromkeys(COLOUR, "0"))
    print(
        "Six nodes of a real Slurm are started on this machine, a training run is submitted with\n"
        "csx-sbatch, and then a rank, a node and the batch host are killed.\n"
    )
    # How long a batch host has to be lost until the sweep requeues the job: a minute by default.
    soon = {"stale_running_after": 10}
    options = ("--set", "SlurmdTimeout=10")
    with ManagedCluster(nodes=6, recovery=None, hook=soon, options=options) as cluster:
        cluster.environment["CSX_EXAMPLE_STEP_SECONDS"] = str(PACE)
        say(
            "slurm",
            f"6 nodes idle, SlurmUser {cluster.slurm_user.pw_name}, jobs of {cluster.user.pw_name}",
        )
        good = run_with_faults(cluster)
    say(
        "proof",
        "the cluster is down and its files are gone"
        if not cluster.directory.exists()
        else f"left behind: {cluster.directory}",
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
