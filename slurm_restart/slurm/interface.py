"""What the package asks of Slurm: one port, served by `commands` and by `rpc`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from slurm_restart.core.job import Job, NodeState


class Slurm(Protocol):
    """A Slurm cluster.

    Every call has a deadline. All raise SlurmUnavailableError where the controller does not
    answer, JobNotFoundError for a job that Slurm does not know, and SlurmError otherwise.
    """

    def cluster_name(self) -> str:
        """ClusterName of slurm.conf."""

    def release(self) -> tuple[int, int]:
        """Release of the commands, such as (22, 5)."""

    def job(self, job_id: int) -> Job:
        """One job with every field."""

    def jobs(self, *, uid: int | None = None) -> tuple[Job, ...]:
        """All jobs that the controller still holds, the ended ones too (of one user)."""

    def nodes(self) -> tuple[NodeState, ...]:
        """All nodes."""

    def reservation_nodes(self, name: str) -> tuple[str, ...]:
        """The nodes of a reservation."""

    def update(self, job_id: int, fields: Mapping[str, str]) -> None:
        """Change fields of a job, in Slurm's spelling: ExcNodeList, NumNodes, StartTime."""

    def requeue(self, job_id: int) -> None:
        """Requeue; a job that is pending already is left as it is, without an error."""

    def hold(self, job_id: int) -> None:
        """Hold a pending job."""

    def release_job(self, job_id: int) -> None:
        """Release a held job."""

    def cancel(self, job_id: int) -> None:
        """Cancel; a job that has ended already is no error."""

    def submit(self, script: str, options: Sequence[str], *, test_only: bool = False) -> str:
        """Hand the path of a script to sbatch; returns the job id, or sbatch's test answer."""

    def ping(self) -> bool:
        """Whether the controller answers."""
