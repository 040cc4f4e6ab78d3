"""Nodes and reservations from what scontrol printed, recorded on real clusters."""

from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.core.job import NodeState, PartitionState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.parse_nodes import (
    parse_cluster_name,
    parse_nodes,
    parse_partitions,
    parse_release,
    parse_reservation,
)

RECORDED = Path(__file__).parent / "recorded"
BOTH = frozenset({"main", "high"})


@pytest.mark.parametrize(("release", "at"), [("22.05", 1795579528), ("25.11", 1795579543)])
def test_nodes(release: str, at: int) -> None:
    alike = NodeState(
        name="", state="IDLE", partitions=BOTH, cpus=2, memory=1, tmp_disk=0, gres="", last_busy=at
    )
    assert parse_nodes((RECORDED / release / "nodes.txt").read_text()) == (
        replace(alike, name="csx1", features=frozenset({"ib", "gen2"})),
        replace(
            alike,
            name="csx2",
            flags=frozenset({"DRAIN"}),
            reason="fan 2 | [x@1] State=IDLE",
            reason_time=at,
        ),
        replace(
            alike,
            name="csx3",
            state="DOWN",
            flags=frozenset({"DRAIN"}),
            reason="board replaced",
            reason_time=at,
        ),
    )


def test_features_that_were_removed() -> None:
    text = (RECORDED / "25.11" / "nodes.txt").read_text()
    node = parse_nodes(text.replace("ActiveFeatures=ib,gen2 ", "ActiveFeatures= "))[0]
    assert (node.name, node.features) == ("csx1", frozenset())


def test_resources_of_a_node() -> None:
    text = (RECORDED / "22.05" / "nodes.txt").read_text()
    text = text.replace("Gres=(null)", "Gres=gpu:a100:4(S:0-1),disk:no_consume:4G")
    text = text.replace("Reason=fan 2", "Reason= CPUTot=9 RealMemory=9 TmpDisk=9 Gres=x ")
    node = parse_nodes(text.replace("RealMemory=1 ", "RealMemory=512000 "))[1]
    assert (node.cpus, node.memory, node.tmp_disk) == (2, 512000, 0)
    assert node.gres == "gpu:a100:4(S:0-1),disk:no_consume:4G"
    assert node.reason.startswith(" CPUTot=9")


def test_resources_that_are_not_shown() -> None:
    (node,) = parse_nodes("NodeName=n1 Arch=x ActiveFeatures=(null) OS=L State=DOWN X=1 ")
    assert (node.cpus, node.memory, node.tmp_disk, node.gres, node.last_busy) == (None,) * 5


def test_partitions() -> None:
    form = (
        "PartitionName={} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO "
        "QoS=N/A DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO "
        "MaxNodes={} MaxTime=UNLIMITED MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=csx[1-3] "
        "PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=EXCLUSIVE "
        "OverTimeLimit=NONE PreemptMode=OFF State={} TotalCPUs=6 TotalNodes=3 "
        "SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED "
        "MaxMemPerNode=UNLIMITED TRES=cpu=6,mem=3M,node=3,billing=6 "
    )
    text = "\n".join((form.format("main", "UNLIMITED", "UP"), form.format("short", 2, "DOWN"), ""))
    assert parse_partitions(text) == (
        PartitionState(name="main"),
        PartitionState(name="short", state="DOWN", max_nodes=2),
    )
    assert parse_partitions("No partitions in the system\n") == ()


@pytest.mark.parametrize(
    ("shown", "state", "flags"),
    [
        ("DOWN+NOT_RESPONDING", "DOWN", {"NOT_RESPONDING"}),
        ("IDLE*+DRAIN", "IDLE", {"NOT_RESPONDING", "DRAIN"}),
        ("MIXED+COMPLETING+PLANNED", "MIXED", {"COMPLETING", "PLANNED"}),
    ],
)
def test_states(shown: str, state: str, flags: set[str]) -> None:
    line = f"NodeName=n1 Arch=x AvailableFeatures=a ActiveFeatures=(null) OS=L State={shown} X=1 "
    (node,) = parse_nodes(f"{line}\nno node\n")
    assert (node.state, node.flags, node.partitions) == (state, flags, frozenset())


@pytest.mark.parametrize("release", ["22.05", "25.11"])
def test_reservation(release: str) -> None:
    assert parse_reservation((RECORDED / release / "reservation.txt").read_text()) == "csx[1-2]"


def test_a_reservation_of_licenses_has_no_nodes() -> None:
    assert parse_reservation("ReservationName=l StartTime=1 Nodes=(null) NodeCnt=0 X=1") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slurm-wlm 22.05.8\n", (22, 5)),
        ("slurm 25.11.7", (25, 11)),
        ("slurm 26.05.0-0rc1", (26, 5)),
    ],
)
def test_release(text: str, expected: tuple[int, int]) -> None:
    assert parse_release(text) == expected


def test_cluster_name() -> None:
    text = "CliFilterPlugins        = (null)\nClusterName             = alps\nX = 1\n"
    assert parse_cluster_name(text) == "alps"


@pytest.mark.parametrize("parse", [parse_reservation, parse_release, parse_cluster_name])
def test_other_output_is_an_error(parse: object) -> None:
    with pytest.raises(SlurmError):
        parse("something else")  # type: ignore[operator]
