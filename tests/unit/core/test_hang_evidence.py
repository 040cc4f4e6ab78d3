"""What stuck processes are said to do, and which node that blames."""

import pytest

from slurm_restart.core.hang_evidence import StuckProcess, blamed_nodes, describe, stopped


def process(node: str = "csx1", state: str = "S", **changes: object) -> StuckProcess:
    values = {
        "node": node, "pid": 7, "rank": 0, "name": "python3", "command": "python3 train.py",
        "state": state, "threads": state, "cpu_share": 0.0, "wait_channel": "futex_wait_queue",
        "system_call": "futex",
    }  # fmt: skip
    return StuckProcess(**(values | changes))


@pytest.mark.parametrize("state", ["T", "D"])
def test_a_process_that_cannot_run_blames_its_node(state: str) -> None:
    found = [process("csx1"), process("csx2", state, rank=1), process("csx3")]
    (blame,) = blamed_nodes(found, ("csx1", "csx2", "csx3"))
    assert blame.node == "csx2"
    assert "the run hangs, and only there: rank 1, process 7 (python3), on csx2: " in blame.evidence


@pytest.mark.parametrize(
    ("found", "nodes"),
    [
        pytest.param([process("csx1"), process("csx2")], ("csx1", "csx2"), id="all wait"),
        pytest.param([process("csx1", "T")], ("csx1",), id="one node alone"),
        pytest.param([process("csx1", "T")], (), id="nodes not known"),
        pytest.param([process("csx1", "D"), process("csx2", "D")], ("csx1", "csx2"), id="all in D"),
        pytest.param([process("csx1", "T")], ("csx1", "csx2"), id="the other did not answer"),
        pytest.param(
            [process("csx1"), process("csx2", "t")], ("csx1", "csx2"), id="under a debugger"
        ),
    ],
)
def test_no_node_is_blamed_without_evidence(
    found: list[StuckProcess], nodes: tuple[str, ...]
) -> None:
    assert blamed_nodes(found, nodes) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "waiting in futex, futex_wait_queue"),
        ({"system_call": "", "wait_channel": ""}, "waiting"),
        ({"state": "T"}, "stopped by a signal (T)"),
        ({"state": "D"}, "in the kernel (D) in futex, futex_wait_queue"),
        ({"state": "R", "cpu_share": 1.0}, "computing (100% of a CPU)"),
        ({"state": "R"}, "running"),
    ],
)
def test_what_a_process_does(changes: dict[str, object], expected: str) -> None:
    assert str(process(**changes)) == f"rank 0, process 7 (python3), on csx1: {expected}"


def test_what_a_process_is_called_cannot_reach_the_terminal() -> None:
    assert "\x1b" not in str(process(name="\x1b[31m"))


def test_the_most_telling_processes_come_first() -> None:
    found = [process(rank=None, pid=1), *(process(rank=n, pid=n + 2) for n in range(8))]
    lines = describe([*found, process("csx2", "T", rank=None, pid=99)])
    assert lines[0] == "process 99 (python3) on csx2: stopped by a signal (T)"
    assert [line.split(",")[0] for line in lines[1:6]] == [f"rank {n}" for n in range(5)]
    assert lines[6] == "and 4 more"
    assert describe(found[:1]) == (str(found[0]),)


@pytest.mark.parametrize(
    ("changes", "is_one"),
    [
        pytest.param({"state": "T"}, True, id="a rank"),
        pytest.param({"state": "T", "rank": None, "stack": "x"}, True, id="a Python program"),
        pytest.param({"state": "T", "rank": None, "name": "srun"}, False, id="srun"),
        pytest.param({"state": "D"}, False, id="in the kernel"),
        pytest.param({"state": "t"}, False, id="under a debugger"),
        pytest.param({"state": "R", "cpu_share": 1.0}, False, id="computing"),
    ],
)
def test_which_processes_can_do_nothing(changes: dict[str, object], is_one: bool) -> None:
    found = [process(state="R"), process("csx2", pid=8, cpu=2.5, **changes)]
    assert stopped(found) == ({("csx2", 8): 2.5} if is_one else {})


def test_no_process_counts_as_stopped_while_a_debugger_is_used() -> None:
    assert stopped([process("csx1", "t"), process("csx2", "T")]) == {}
