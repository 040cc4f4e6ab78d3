"""The interface to Slurm that the package uses; implemented in `commands` and `pyslurm_backend`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, NodeState, PartitionState
from slurm_restart.slurm.process import Completed, Interactive, Running

JobName = int | str
"""What a request is about: a job id, or `Job.name` for what may be a task of an array."""


class Slurm(Protocol):
    """A Slurm cluster.

    Every request has a deadline. All raise SlurmUnavailableError if the controller does not
    answer, JobNotFoundError for a job unknown to Slurm, and SlurmError for other failures.
    """

    def cluster_name(self) -> str:
        """Return ClusterName of slurm.conf."""

    def release(self) -> tuple[int, int]:
        """Return major and minor of the commands' release, such as (22, 5)."""

    def cluster_facts(self) -> ClusterFacts:
        """Return the facts of the controller's configuration."""

    def job(self, job_id: int) -> Job:
        """Return one job with every field."""

    def jobs(self, *, uid: int | None = None) -> tuple[Job, ...]:
        """Return all jobs (of one user) in slurmctld's memory, ended ones included."""

    def nodes(self) -> tuple[NodeState, ...]:
        """Return all nodes."""

    def nodes_named(self, names: Sequence[str]) -> tuple[NodeState, ...]:
        """Return these nodes; an unknown one is an error."""

    def partitions(self) -> tuple[PartitionState, ...]:
        """Return all partitions."""

    def others_wait(self, job: Job) -> bool:
        """Return whether other jobs wait for nodes of the partitions of a job."""

    def step_nodes(self, job_id: int) -> frozenset[str]:
        """Return the nodes on which Slurm shows steps of a running job, the script's included."""

    def node_limit(self, job: Job) -> int | None:
        """Return how many nodes limits leave for a pending job; None: there is no limit."""

    def reservation_nodes(self, name: str) -> tuple[str, ...]:
        """Return the nodes of a reservation, or of several (`a,b`)."""

    def update(self, job: JobName, fields: Mapping[str, str]) -> None:
        """Change fields of a job, in Slurm's spelling: ExcNodeList, NumNodes, StartTime."""

    def requeue(self, job: JobName) -> None:
        """Requeue a job. A job that is already pending is left unchanged, without an error."""

    def hold(self, job: JobName) -> None:
        """Hold a pending job."""

    def release_job(self, job: JobName) -> None:
        """Release a held job."""

    def cancel(self, job: JobName) -> None:
        """Cancel a job. A job that has already ended is no error."""

    def signal_steps(self, job_id: int, name: str) -> None:
        """Send a signal, named without SIG, to the tasks of a job's steps, not to its script."""

    def run_on_nodes(self, job_id: int, nodes: Sequence[str], command: Sequence[str]) -> str:
        """Run a command once on each of these nodes of a running job; return what it printed."""

    def check_nodes(
        self, job_id: int, nodes: Sequence[str], command: Sequence[str], *, timeout: float
    ) -> Completed:
        """Run a command on these nodes as above; return what was printed until the deadline."""

    def start_on_nodes(
        self, job_id: int, nodes: Sequence[str], command: Sequence[str], *, timeout: float
    ) -> Interactive:
        """Start a command once on each of these nodes of a running job, and return at once.

        When the input ends, it ends on all of them.
        """

    def start_on_node(self, job_id: int, node: str, name: str, command: Sequence[str]) -> Running:
        """Start a step with a name on a node of a running job, and return without waiting."""

    def submit(self, script: str, options: Sequence[str], *, test_only: bool = False) -> str:
        """Submit a script with sbatch; return the job id, or the answer to --test-only."""

    def ping(self) -> bool:
        """Return whether the controller answers."""
