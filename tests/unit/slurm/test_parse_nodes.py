"""Nodes and reservations from what scontrol printed, recorded on real clusters."""

from pathlib import Path

import pytest

from slurm_restart.core.job import NodeState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.parse_nodes import (
    parse_cluster_name,
    parse_nodes,
    parse_release,
    parse_reservation,
)

RECORDED = Path(__file__).parent / "recorded"
BOTH = frozenset({"main", "high"})


@pytest.mark.parametrize(("release", "at"), [("22.05", 1795579528), ("25.11", 1795579543)])
def test_nodes(release: str, at: int) -> None:
    assert parse_nodes((RECORDED / release / "nodes.txt").read_text()) == (
        NodeState(name="csx1", state="IDLE", partitions=BOTH, features=frozenset({"ib", "gen2"})),
        NodeState(
            name="csx2",
            state="IDLE",
            flags=frozenset({"DRAIN"}),
            reason="fan 2 | [x@1] State=IDLE",
            reason_time=at,
            partitions=BOTH,
        ),
        NodeState(
            name="csx3",
            state="DOWN",
            flags=frozenset({"DRAIN"}),
            reason="board replaced",
            reason_time=at,
            partitions=BOTH,
        ),
    )


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
