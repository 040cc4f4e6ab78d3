"""A development cluster without the plugin's hook: nothing runs at the end of a job."""

import re
from pathlib import Path
from typing import Any

from contrib.testing.dev_cluster import DEAD_NODE_NOTICED, DevCluster
from contrib.testing.job_processes import job_processes, words_of
from contrib.testing.managed_cluster import SHORT_DELAY, SOON, ManagedCluster
from contrib.testing.waiting import LONG_DEADLINE, await_

CHANGES_TAKEN = (24, 11)
"""Before, Slurm without accounting takes no change of a job that has lost a node."""
AT_ONCE = {"policy.backoff": "1s"}


class HooklessCluster(ManagedCluster):
    """A cluster of four nodes on which only the users have installed the package.

    Args:
        options: further options of `devcluster up`.
    """

    def __init__(self, *options: str) -> None:
        super().__init__(
            nodes=4,
            recovery=None,
            options=(*SOON, *DEAD_NODE_NOTICED, *options),
            requeued_after=SHORT_DELAY,
        )
        place = self.options.index("--epilog")
        self.options = (*self.options[:place], *self.options[place + 2 :])

    def up(self) -> None:
        """Boot, with this interpreter's commands in the users' PATH."""
        DevCluster.up(self)
        self.use_package()

    def reconcile(self) -> dict[str, int]:
        """Do nothing: there is no reconciler either."""
        return {}


def submit(
    cluster: HooklessCluster,
    command: str | None,
    *options: str,
    restarts: int = 3,
    nodes: int = 2,
    min_nodes: int = 1,
    recovery: str | None = "requeue",
    **changes: Any,
) -> int:
    """Submit a run that requeues itself, and waits no longer than necessary.

    `recovery` None: by default. Most tests are about requeues.
    """
    given = {} if recovery is None else {"recovery": recovery}
    settings = {f"slurm.{key}": value for key, value in (AT_ONCE | given | changes).items()}
    if command is not None:
        settings["slurm.command"] = command
    config = cluster.config(nodes=nodes, min_nodes=min_nodes, restarts=restarts, **settings)
    [job_id] = cluster.csx_sbatch(config, *options)
    return job_id


def submit_waiting(
    cluster: HooklessCluster,
    *,
    spares: int = 1,
    nodes: int = 2,
    min_nodes: int = 1,
    restarts: int = 3,
) -> int:
    """Submit a run that outlives nodes; its ranks tell where they are, and wait for `let_go`."""
    rank = f"touch {cluster.work}/$CSX_RESTART_ATTEMPT.$SLURMD_NODENAME; "
    # A shell on another node has nothing else to wait for a file with.
    rank += f"until test -e {cluster.work}/go; do sleep 0.1; done"
    command = str(cluster.script(f"srun sh -c '{rank}'"))
    sizes = {"nodes": nodes, "min_nodes": min_nodes, "restarts": restarts}
    job_id = submit(cluster, command, f"--spares={spares}", recovery=None, **sizes)
    await_ranks(cluster, 0, nodes)
    return job_id


def await_ranks(cluster: HooklessCluster, attempt: int, count: int) -> set[str]:
    """Wait until an attempt has ranks on so many nodes; return them."""
    pattern = f"{attempt}.csx*"
    await_(lambda: len([*cluster.work.glob(pattern)]) == count, pattern, timeout=LONG_DEADLINE)
    return {path.suffix[1:] for path in cluster.work.glob(pattern)}


def await_attempt(cluster: HooklessCluster, number: int) -> Path:
    """Wait until an attempt has started its program; return its directory."""
    directory = cluster.run_dir() / f"attempts/{number}"
    await_((directory / "output.log").exists, f"attempt {number}", timeout=LONG_DEADLINE)
    return directory


def decisions(run_dir: Path) -> list[str]:
    """Return what was decided after each attempt of a run."""
    return re.findall(r" decision: (\w+)", (run_dir / "run.log").read_text())


def supervisor_of(cluster: HooklessCluster, job_id: int) -> int:
    """Return the supervisor of a job: the child of the batch script's shell."""
    [supervisor] = [
        process.pid
        for process in job_processes(cluster, job_id)
        if "--run-dir" in process.words and "bash" in " ".join(words_of(process.parent))
    ]
    return supervisor
