"""How far a run searches for a faulty node that no log names."""

from enum import Enum


class NodeSearchMode(Enum):
    """What a run asks for: `slurm: {policy: {node_search: …}}`, or `--node-search`."""

    ON = "on"
    """An attempt that is smaller for the search ends at its first checkpoint, to go on with it."""
    RESTARTS = "restarts"
    """Only at restarts that have another reason."""
    OFF = "off"
    """No node is left out or excluded unless evidence names it."""
