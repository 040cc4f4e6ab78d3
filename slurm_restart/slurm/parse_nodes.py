"""Parse scontrol's output on nodes, reservations and the cluster; it holds no text of users."""

import re

from slurm_restart.core.job import NodeState
from slurm_restart.errors import SlurmError

_NODE = re.compile(r"^NodeName=(\S+) .*? ActiveFeatures=(\S*) .*? State=(\S+) (.*)$", re.MULTILINE)
_PARTITIONS = re.compile(r"(?:^| )Partitions=(\S+)")
_REASON = re.compile(r" Reason=(.*) \[[^\]\s]*@([0-9]+)\]")
_RESERVATION = re.compile(r"^ReservationName=.*? Nodes=(\S*) NodeCnt=", re.MULTILINE)
_RELEASE = re.compile(r"^slurm\S* ([0-9]{2})\.([0-9]{2})\.", re.MULTILINE)
_CLUSTER_NAME = re.compile(r"^ClusterName\s*= (\S+)\s*$", re.MULTILINE)
_NULL = "(null)"


def parse_nodes(text: str) -> tuple[NodeState, ...]:
    """Return the nodes that `scontrol show node -o` printed, with times in epoch seconds."""
    return tuple(_node(match) for match in _NODE.finditer(text))


def _node(match: re.Match[str]) -> NodeState:
    name, features, state, rest = match.groups()
    # Base state first, then the flags; before 23.02 `*` after the base state: not responding.
    base, *flags = state.replace("*", "+NOT_RESPONDING").split("+")
    partitions = _PARTITIONS.search(rest)
    reason = _REASON.search(rest)
    return NodeState(
        name=name,
        state=base,
        flags=frozenset(flags),
        reason=reason[1] if reason else "",
        reason_time=int(reason[2]) if reason else None,
        partitions=_names(partitions[1] if partitions else _NULL),
        features=_names(features),
    )


def _names(text: str) -> frozenset[str]:
    return frozenset() if text == _NULL else frozenset(text.split(","))


def parse_reservation(text: str) -> str:
    """Return the hostlist of the reservation that `scontrol show reservation -o NAME` printed."""
    match = _RESERVATION.search(text)
    if match is None:
        raise SlurmError(f"scontrol: expected a reservation, got {text[:200]!r}")
    return "" if match[1] == _NULL else match[1]


def parse_release(text: str) -> tuple[int, int]:
    """Return major and minor, such as (22, 5), of what `scontrol --version` printed."""
    match = _RELEASE.search(text)
    if match is None:
        raise SlurmError(f"scontrol: expected a version of Slurm, got {text[:80]!r}")
    return int(match[1]), int(match[2])


def parse_cluster_name(text: str) -> str:
    """Return ClusterName of what `scontrol show config` printed."""
    match = _CLUSTER_NAME.search(text)
    if match is None:
        raise SlurmError("scontrol show config: no ClusterName")
    return match[1]
