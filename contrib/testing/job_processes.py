"""Find the processes of a test cluster's jobs; other clusters here have jobs of the same ids."""

from collections.abc import Iterator
from pathlib import Path

from contrib.devcluster_parts.processes import GONE, environment_of, read_processes
from contrib.testing.dev_cluster import DevCluster
from slurm_restart.frozen import frozen


@frozen
class JobProcess:
    """A live process of a job."""

    pid: int
    parent: int
    words: tuple[str, ...]
    """Its command line; empty in the kernel's threads and where it has just ended."""
    environment: dict[str, str]

    @property
    def is_rank(self) -> bool:
        """Whether it belongs to a step of srun, not to the batch script."""
        return "SLURM_STEP_ID" in self.environment

    @property
    def program(self) -> str:
        """File name of the script that an interpreter runs, or of the program itself."""
        return next((Path(word).name for word in self.words[1:2] or self.words), "")


def job_processes(cluster: DevCluster, job_id: int | None = None) -> Iterator[JobProcess]:
    """Yield the live processes of a job of this cluster; without an id, of all its jobs."""
    for process in read_processes().values():
        environment = environment_of(process.pid)
        if environment.get("SLURM_CONF") != str(cluster.conf):
            continue
        if "SLURM_JOB_ID" in environment and job_id in {None, int(environment["SLURM_JOB_ID"])}:
            yield JobProcess(
                pid=process.pid,
                parent=process.parent,
                words=words_of(process.pid),
                environment=environment,
            )


def words_of(pid: int) -> tuple[str, ...]:
    """Return the command line of a process; empty if it has ended."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except GONE:
        return ()
    return tuple(text.removesuffix("\0").split("\0"))
