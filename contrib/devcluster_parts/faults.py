"""`devcluster fault`: what can be broken in a cluster, and mended, each a row of one table."""

from __future__ import annotations

import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contrib.devcluster_parts.boot import (
    await_daemon,
    start_slurmctld,
    start_slurmd,
    start_slurmdbd,
)
from contrib.devcluster_parts.errors import DevclusterError, poll
from contrib.devcluster_parts.processes import (
    descendants,
    kill_all,
    read_process,
    read_processes,
    signal_all,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from contrib.devcluster_parts.cluster import Cluster, Step
    from contrib.devcluster_parts.processes import Process

    Act = Callable[[Cluster, argparse.Namespace], str]
    """Breaks or mends something; returns what it did."""


def live(cluster: Cluster, name: str) -> Process:
    """The daemon of that name; DevclusterError if it is not running."""
    process = cluster.recorded(name)
    if process is None:
        raise DevclusterError(f"{name} is not running")
    return process


def kill_slurmd(cluster: Cluster, options: argparse.Namespace) -> str:
    # As for a machine that is lost: nothing is sent, only its connections are closed.
    live(cluster, f"slurmd-{options.node}")
    killed = kill_all(lambda: cluster.on_node(options.node))
    return f"{options.node}: slurmd and all else on the node killed ({killed} processes)"


def kill_slurmd_only(cluster: Cluster, options: argparse.Namespace) -> str:
    live(cluster, f"slurmd-{options.node}").kill()
    return f"{options.node}: slurmd killed; its steps live on"


def start_slurmd_again(cluster: Cluster, options: argparse.Namespace) -> str:
    name = f"slurmd-{options.node}"
    if cluster.recorded(name):
        raise DevclusterError(f"{options.node}: slurmd is running")
    before = int(time.time())
    start_slurmd(cluster, options.node)
    controller = cluster.recorded("slurmctld")
    if controller is None or controller.state == "T":
        return f"{options.node}: slurmd started; it registers once slurmctld answers"
    await_daemon(cluster, name, lambda: registered_since(cluster, options.node, before), 300)
    return f"{options.node}: slurmd started and registered"


def registered_since(cluster: Cluster, node: str, moment: int) -> bool:
    """Whether slurmctld knows of a slurmd on that node that started then or later."""
    text = cluster.slurm("scontrol", "show", "node", "-o", node)
    match = re.search(r" SlurmdStartTime=(\d\S+)", text)
    if match is None:
        return False
    return time.mktime(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S")) >= moment


def steps_on(cluster: Cluster, options: argparse.Namespace) -> list[Step]:
    """The node's steps that the options name; DevclusterError if there are none."""
    wanted = options.step
    found = [
        step
        for step in cluster.steps()
        if step.node == options.node
        and options.job in (None, step.job)
        and (wanted in ("all", step.step) or (wanted == "srun" and step.step.isdigit()))
    ]
    if not found:
        job = f" of job {options.job}" if options.job else ""
        raise DevclusterError(f"{options.node}: no step{job} there to kill (--step {wanted})")
    return found


def kill_stepd(cluster: Cluster, options: argparse.Namespace) -> str:
    steps = steps_on(cluster, options)
    for step in steps:
        if process := read_process(step.pid):
            process.kill()
    names = ", ".join(sorted({str(step) for step in steps}))
    return f"{options.node}: slurmstepd of {names} killed; what it started lives on"


def kill_step(cluster: Cluster, options: argparse.Namespace) -> str:
    steps = steps_on(cluster, options)
    processes = read_processes()
    managers = {step.pid for step in steps}
    victims = descendants(managers, processes) - managers
    for pid in victims:
        processes[pid].signal(signal.SIGKILL)
    poll("their end", lambda: not any(processes[pid].alive for pid in victims), 60)
    names = ", ".join(sorted({str(step) for step in steps}))
    return f"{options.node}: {len(victims)} processes of {names} killed; slurmstepd lives"


def freeze_node(cluster: Cluster, options: argparse.Namespace) -> str:
    live(cluster, f"slurmd-{options.node}")
    frozen = signal_all(lambda: cluster.on_node(options.node), signal.SIGSTOP)
    return f"{options.node}: {frozen} processes frozen"


def thaw_node(cluster: Cluster, options: argparse.Namespace) -> str:
    thawed = signal_all(lambda: cluster.on_node(options.node), signal.SIGCONT)
    return f"{options.node}: {thawed} processes thawed"


def node_down(cluster: Cluster, options: argparse.Namespace) -> str:
    return update_node(cluster, options, "State=DOWN", f"Reason={options.reason}")


def node_drain(cluster: Cluster, options: argparse.Namespace) -> str:
    return update_node(cluster, options, "State=DRAIN", f"Reason={options.reason}")


def node_resume(cluster: Cluster, options: argparse.Namespace) -> str:
    return update_node(cluster, options, "State=RESUME")


def update_node(cluster: Cluster, options: argparse.Namespace, *settings: str) -> str:
    """`scontrol update` of the node, and what was set."""
    cluster.slurm("scontrol", "update", f"NodeName={options.node}", *settings)
    return f"{options.node}: {' '.join(settings)}"


def kill_daemon(name: str) -> Act:
    """Return the fault that kills slurmctld or slurmdbd."""

    def act(cluster: Cluster, _: argparse.Namespace) -> str:
        live(cluster, name).kill()
        return f"{name} killed"

    return act


def signal_daemon(name: str, number: signal.Signals, done: str) -> Act:
    """Return the fault that sends a signal to slurmctld or slurmdbd; `done` says what it did."""

    def act(cluster: Cluster, _: argparse.Namespace) -> str:
        live(cluster, name).signal(number)
        return f"{name} {done}"

    return act


def start_ctld(cluster: Cluster, _: argparse.Namespace) -> str:
    if cluster.recorded("slurmctld"):
        raise DevclusterError("slurmctld is running")
    start_slurmctld(cluster)
    return "slurmctld started; it answers"


def start_dbd(cluster: Cluster, _: argparse.Namespace) -> str:
    if not cluster.accounting:
        raise DevclusterError("this cluster has no slurmdbd: boot one with up --accounting")
    if cluster.recorded("slurmdbd"):
        raise DevclusterError("slurmdbd is running")
    start_slurmdbd(cluster)
    return "slurmdbd started; it accepts connections"


def fail_prolog(cluster: Cluster, options: argparse.Namespace) -> str:
    require_own_script(cluster, "Prolog")
    cluster.flag("fail-prolog", options.node).touch()
    return f"{options.node}: its Prolog fails from now on"


def mend_prolog(cluster: Cluster, options: argparse.Namespace) -> str:
    cluster.flag("fail-prolog", options.node).unlink(missing_ok=True)
    return f"{options.node}: its Prolog succeeds again"


def slow_epilog(cluster: Cluster, options: argparse.Namespace) -> str:
    require_own_script(cluster, "Epilog")
    cluster.flag("slow-epilog", options.node).write_text(f"{options.seconds}\n")
    return f"{options.node}: its Epilog takes {options.seconds} s from now on"


def mend_epilog(cluster: Cluster, options: argparse.Namespace) -> str:
    cluster.flag("slow-epilog", options.node).unlink(missing_ok=True)
    return f"{options.node}: its Epilog is quick again"


def require_own_script(cluster: Cluster, key: str) -> None:
    """DevclusterError where the cluster runs another script than the one that can misbehave."""
    expected = f"{key}={cluster.directory}/etc/{key.lower()}"
    if expected not in cluster.conf.read_text().splitlines():
        raise DevclusterError(f"--set {key} replaced this cluster's own script: no such fault here")


@dataclass(frozen=True)
class Fault:
    """What a fault does, and the arguments that it takes."""

    act: Act
    help: str
    arguments: tuple[str, ...] = ("node",)
    step: str | None = None


FAULTS: dict[str, Fault] = {
    "kill-slurmd": Fault(
        kill_slurmd, "kill -9 slurmd, its slurmstepds and all job processes: a node that is gone"
    ),
    "kill-slurmd-only": Fault(
        kill_slurmd_only, "kill -9 slurmd alone: unnoticed at first, the steps live on"
    ),
    "start-slurmd": Fault(start_slurmd_again, "start slurmd again, and wait until it registers"),
    "kill-stepd": Fault(
        kill_stepd, "kill -9 the slurmstepd of the batch step", ("node", "job"), "batch"
    ),
    "kill-step": Fault(
        kill_step, "kill -9 what runs in the srun steps: a rank dies", ("node", "job"), "srun"
    ),
    "freeze-node": Fault(freeze_node, "SIGSTOP everything on the node: a node that is silent"),
    "thaw-node": Fault(thaw_node, "SIGCONT everything on the node"),
    "node-down": Fault(node_down, "scontrol update State=DOWN", ("node", "reason")),
    "node-drain": Fault(node_drain, "scontrol update State=DRAIN", ("node", "reason")),
    "node-resume": Fault(node_resume, "scontrol update State=RESUME"),
    "kill-ctld": Fault(kill_daemon("slurmctld"), "kill -9 slurmctld", ()),
    "start-ctld": Fault(start_ctld, "start slurmctld again, and wait until it answers", ()),
    "freeze-ctld": Fault(
        signal_daemon("slurmctld", signal.SIGSTOP, "frozen"), "SIGSTOP slurmctld: commands hang", ()
    ),
    "thaw-ctld": Fault(
        signal_daemon("slurmctld", signal.SIGCONT, "thawed"), "SIGCONT slurmctld", ()
    ),
    "kill-dbd": Fault(kill_daemon("slurmdbd"), "kill -9 slurmdbd (up --accounting)", ()),
    "start-dbd": Fault(start_dbd, "start slurmdbd again, and wait until it answers", ()),
    "freeze-dbd": Fault(
        signal_daemon("slurmdbd", signal.SIGSTOP, "frozen"),
        "SIGSTOP slurmdbd: slurmctld waits for it while it sends a job's start",
        (),
    ),
    "thaw-dbd": Fault(signal_daemon("slurmdbd", signal.SIGCONT, "thawed"), "SIGCONT slurmdbd", ()),
    "fail-prolog": Fault(
        fail_prolog,
        "let the node's Prolog fail; it runs when the first step (batch or srun) gets there",
    ),
    "mend-prolog": Fault(mend_prolog, "let the node's Prolog succeed again"),
    "slow-epilog": Fault(
        slow_epilog, "let the node's Epilog take so many seconds", ("node", "seconds")
    ),
    "mend-epilog": Fault(mend_epilog, "let the node's Epilog be quick again"),
}
