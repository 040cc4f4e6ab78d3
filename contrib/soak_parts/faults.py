"""The faults of a soak: what is done to a run, and the end that it has to come to."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contrib.soak_parts.run import FINAL, Fault, Run, TooLateError
from contrib.testing.waiting import await_

SETTLED = 6.0
"""Seconds after a submission in which a killed slurmctld may lose it (measured: a few)."""


def kill_rank(run: Run) -> None:
    """One rank dies."""
    _until_done(run, lambda: run.cluster.fault("kill-step", run.a_node(), str(run.job)))


def kill_trainer(run: Run) -> None:
    """The trainer's first process, which is srun where there are ranks."""
    program = "cszoo fit" if run.nodes == 1 else "srun "

    def kill() -> None:
        found = run.cluster.processes_of(run.job).items()
        victims = [pid for pid, command in found if program in command and "/sh " not in command]
        assert victims, f"job {run.job}: no {program}"
        for pid in victims:
            os.kill(pid, signal.SIGKILL)

    _until_done(run, kill)


def kill_supervisor(run: Run) -> None:
    """What the batch script has become."""
    _until_done(run, lambda: os.kill(run.cluster.batch_pid(run.job), signal.SIGKILL))


def kill_stepd(run: Run) -> None:
    """The slurmstepd of the batch step; what it started lives on."""
    where = (run.batch_host(), str(run.job))
    _until_done(run, lambda: run.cluster.fault("kill-stepd", *where))


def batch_host_gone(run: Run) -> None:
    """Everything on the batch host dies."""
    _gone(run, run.batch_host())


def other_node_gone(run: Run) -> None:
    """Everything on another node dies."""
    _gone(run, run.another_node())


def _gone(run: Run, node: str) -> None:
    run.harm(node)
    run.cluster.fault("kill-slurmd", node)
    await_(lambda: run.cluster.node(node).startswith("down"), f"{node} down", timeout=90)


def node_reboots(run: Run) -> None:
    """Everything on a node dies, and its slurmd is back before Slurm has missed it."""
    node = run.a_node()
    run.harm(node)
    run.cluster.fault("kill-slurmd", node)
    time.sleep(run.draw.uniform(0, 3))
    start_slurmd(run)


def start_slurmd(run: Run) -> None:
    """The struck nodes come back."""
    for node in run.struck:
        run.cluster.fault("start-slurmd", node)
    resume(run)
    run.struck.clear()


def node_down(run: Run) -> None:
    """A person sets a node down."""
    run.cluster.fault("node-down", run.harm(run.a_node()))


def node_drained(run: Run) -> None:
    """A person drains a node, and then a rank dies."""
    run.cluster.fault("node-drain", run.harm(run.a_node()))
    kill_rank(run)


def resume(run: Run) -> None:
    """The struck nodes are in service again."""
    for node in run.struck:
        if run.cluster.node(node).startswith(("down", "drain", "fail")):
            run.cluster.fault("node-resume", node)


def prolog_fails(run: Run) -> None:
    """The prolog fails on the node where the run is about to start."""
    cluster = run.cluster
    with cluster.quiet:
        await_(lambda: idle(run), "an idle node", timeout=120)
        node = run.harm(idle(run)[0])
        cluster.fault("fail-prolog", node)
        run.jobs = cluster.csx_sbatch(run.config)
        struck = lambda: cluster.node(node).startswith("drain") or run.ends()  # noqa: E731
        try:
            await_(struck, "the prolog's failure", timeout=60)
        finally:
            cluster.fault("mend-prolog", node)


def idle(run: Run) -> list[str]:
    """Nodes on which a job could start."""
    return [node for node in run.cluster.node_names if run.cluster.node(node) == "idle"]


def scancel(run: Run) -> None:
    """The owner cancels the job."""
    run.cluster.run("scancel", str(run.job))


def requeue(run: Run) -> None:
    """The owner requeues the job."""
    run.cluster.run("scontrol", "requeue", str(run.job))


@contextmanager
def _slurmctld_killed_after(run: Run) -> Iterator[None]:
    """Submit the run; after the body, kill slurmctld, which is started again within seconds."""
    with run.cluster.quiet:
        run.jobs = run.cluster.csx_sbatch(run.config)
        run.await_state("RUNNING")
        time.sleep(SETTLED)
        yield
        time.sleep(run.draw.uniform(0, 1.2))
        run.cluster.kill_slurmctld_for(run.draw.uniform(0, 3))


def kill_slurmctld(run: Run) -> None:
    """Slurmctld is killed while all goes well."""
    with _slurmctld_killed_after(run):
        pass


def kill_slurmctld_at_the_end(run: Run) -> None:
    """Slurmctld is killed about when it hears of an end."""
    with _slurmctld_killed_after(run):
        kill_rank(run)


def scancel_and_kill_slurmctld(run: Run) -> None:
    """The owner cancels the job, and slurmctld may forget it."""
    with _slurmctld_killed_after(run):
        scancel(run)


def _until_done(run: Run, act: Callable[[], None]) -> None:
    """What is to be killed may not be there yet."""
    deadline = time.monotonic() + 30
    while True:
        try:
            act()
        except (AssertionError, ProcessLookupError) as error:
            if run.cluster.state(run.job) in FINAL:
                raise TooLateError(run.job) from error
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.2)


BOGUS = (("trainer.init.bogus_key", 1),)
FAULTS: dict[str, Fault] = {
    "rank killed": Fault(strike=kill_rank, nodes=2),
    "trainer killed": Fault(strike=kill_trainer),
    "supervisor killed": Fault(strike=kill_supervisor),
    "slurmstepd killed": Fault(strike=kill_stepd),
    "batch host gone": Fault(strike=batch_host_gone, mend=start_slurmd),
    "other node gone": Fault(strike=other_node_gone, mend=start_slurmd, nodes=2),
    "node reboots": Fault(strike=node_reboots, mend=start_slurmd),
    "node set down": Fault(strike=node_down, mend=resume),
    "node drained, rank killed": Fault(strike=node_drained, mend=resume, nodes=2),
    "prolog fails": Fault(strike=prolog_fails, mend=resume, submits=True),
    "scancel": Fault(strike=scancel, state="CANCELLED", restarts=lambda _: 0),
    "requeued by its owner": Fault(strike=requeue),
    "config error": Fault(state="FAILED", restarts=lambda _: 0, config=BOGUS),
    "exit 1, no progress": Fault(state="FAILED", restarts=lambda most: most, fails="exit:1@3"),
    "exit 1 after progress": Fault(
        state="FAILED", restarts=lambda most: most + 1, fails="exit:1@8"
    ),
    "slurmctld killed": Fault(strike=kill_slurmctld, submits=True),
    "scancel, slurmctld killed": Fault(
        strike=scancel_and_kill_slurmctld,
        state="CANCELLED",
        restarts=lambda _: 0,
        submits=True,
        forgettable=True,
    ),
    "rank and slurmctld killed": Fault(strike=kill_slurmctld_at_the_end, nodes=2, submits=True),
}
