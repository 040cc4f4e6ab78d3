"""Parse scontrol's output on nodes, partitions, reservations and the cluster: no text of users."""

import re

from slurm_restart.core.job import NodeState, PartitionState
from slurm_restart.errors import SlurmError

_NODE = re.compile(r"^NodeName=(\S+) .*? ActiveFeatures=(\S*) .*? State=(\S+) (.*)$", re.MULTILINE)
_CPUS = re.compile(r" CPUTot=([0-9]+) ")
_GRES = re.compile(r" Gres=(\S*) ")
_MEMORY = re.compile(r" RealMemory=([0-9]+) ")
_TMP_DISK = re.compile(r" TmpDisk=([0-9]+) ")
_LAST_BUSY = re.compile(r" LastBusyTime=([0-9]+) ")
_PARTITION = re.compile(
    r"^PartitionName=(\S+) .*? MaxNodes=(\S+) .*? State=(\S+) .*$", re.MULTILINE
)
_GRACE_TIME = re.compile(r" GraceTime=([0-9]+) ")
_PARTITION_QOS = re.compile(r" QoS=(\S+) ")
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
        cpus=_number(_CPUS, match[0]),
        memory=_number(_MEMORY, match[0]),
        tmp_disk=_number(_TMP_DISK, match[0]),
        gres=_gres(match[0]),
        last_busy=_number(_LAST_BUSY, match[0]),
    )


def _number(field: re.Pattern[str], line: str) -> int | None:
    # The first match is Slurm's own: texts of administrators come after all these fields.
    found = field.search(line)
    return int(found[1]) if found else None


def _gres(line: str) -> str | None:
    found = _GRES.search(line)
    if found is None:
        return None
    return "" if found[1] == _NULL else found[1]


def parse_partitions(text: str) -> tuple[PartitionState, ...]:
    """Return the partitions that `scontrol show partition -o` printed."""
    return tuple(
        PartitionState(
            name=match[1],
            state=match[3],
            max_nodes=int(match[2]) if match[2].isdecimal() else None,
            grace_time=_number(_GRACE_TIME, match[0]) or 0,
            qos=_partition_qos(match[0]),
        )
        for match in _PARTITION.finditer(text)
    )


def _names(text: str) -> frozenset[str]:
    # Empty where features have been removed with scontrol (25.11).
    return frozenset() if text in ("", _NULL) else frozenset(text.split(","))


def _partition_qos(line: str) -> str | None:
    found = _PARTITION_QOS.search(line)
    return found[1] if found and found[1] != "N/A" else None


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
