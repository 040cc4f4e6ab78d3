"""Format node names as a hostlist, Slurm's short form; `core.hostlist` expands it."""

import re
from collections.abc import Iterable

_SHORT = 8
"""Up to this many names are joined by commas, which is a valid hostlist too."""
_NUMBER = re.compile(r"([0-9]+)")


def format_hostlist(names: Iterable[str]) -> str:
    """Return the hostlist of node names, without duplicates and in natural order."""
    unique = sorted(set(names), key=_natural)
    if len(unique) <= _SHORT:
        return ",".join(unique)
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet  # noqa: PLC0415 - slow to import

    return str(NodeSet.fromlist(unique, resolver=RESOLVER_NOGROUP))


def _natural(name: str) -> list[tuple[int, str]]:
    return [
        (int(piece), piece) if number % 2 else (0, piece)
        for number, piece in enumerate(_NUMBER.split(name))
    ]
