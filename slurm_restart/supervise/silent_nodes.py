"""Find nodes of the job that Slurm has yet to give up."""

from collections.abc import Sequence

from slurm_restart.slurm.interface import Slurm


def silent_nodes(names: Sequence[str], slurm: Slurm) -> list[str]:
    """Return which of these nodes do not respond to slurmctld, or are DOWN.

    No step can be started on them, and one that has a task there is not ended.

    Raises:
        SlurmError: Slurm does not answer.
    """
    return [node.name for node in slurm.nodes_named(names) if node.down] if names else []
