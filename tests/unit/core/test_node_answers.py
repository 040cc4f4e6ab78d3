"""When nodes are checked, and what follows from their answers."""

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.node_answers import (
    CheckTime,
    HealthState,
    NodeAnswer,
    is_due,
    judge_answers,
)

GOOD = NodeAnswer(failure=None)
BAD = NodeAnswer(failure="disk: full", check="disk")
FAILED = NodeAnswer(failure="command: no (exit code 1)", check="command", code=1)
ABSENT = NodeAnswer(failure="command: sh: not found (exit code 127)", check="command", code=127)
LATE = NodeAnswer(failure="command: no end within 3 s", check="deadline")
CUT_OFF = NodeAnswer(failure="network: no route", check="network")
SILENT = None


@pytest.mark.parametrize(
    ("when", "first", "last", "due"),
    [
        (CheckTime.AUTO, True, None, True),
        (CheckTime.AUTO, False, None, True),  # nobody recorded the last end
        (CheckTime.AUTO, False, Category.HARDWARE_NODE, True),
        (CheckTime.AUTO, False, Category.NETWORK_FABRIC, True),
        (CheckTime.AUTO, False, Category.UNKNOWN, True),
        (CheckTime.AUTO, False, Category.HEALTH_CHECK, True),
        (CheckTime.AUTO, False, Category.NODE_DRAINED, True),
        (CheckTime.AUTO, False, Category.TIMEOUT, False),
        (CheckTime.AUTO, False, Category.PREEMPTION, False),
        (CheckTime.AUTO, False, Category.STORAGE_IO, False),
        (CheckTime.AUTO, False, Category.NUMERIC_NAN, False),
        (CheckTime.ALWAYS, False, Category.TIMEOUT, True),
        (CheckTime.NEVER, True, None, False),
    ],
)
def test_when_the_nodes_are_checked(
    when: CheckTime, first: bool, last: Category | None, due: bool
) -> None:
    assert is_due(when, first=first, last=last) is due


@pytest.mark.parametrize(
    ("answers", "left_before", "state", "failed"),
    [
        ([GOOD, GOOD, GOOD], False, HealthState.HEALTHY, []),
        ([GOOD, BAD, GOOD], False, HealthState.LEAVE, ["b"]),
        ([GOOD, ABSENT, GOOD], False, HealthState.LEAVE, ["b"]),
        ([GOOD, SILENT, GOOD], False, HealthState.LEAVE, ["b"]),
        ([BAD, LATE, GOOD], True, HealthState.LEAVE, ["a", "b"]),
        ([FAILED, FAILED, FAILED], False, HealthState.ALL_FAILED, ["a", "b", "c"]),
        ([FAILED, SILENT, FAILED], False, HealthState.ALL_FAILED, ["a", "b", "c"]),
        ([ABSENT, ABSENT, ABSENT], False, HealthState.NOT_RUN, ["a", "b", "c"]),
        ([LATE, LATE, SILENT], False, HealthState.NO_ANSWER, ["a", "b", "c"]),
        # The batch host is the first. Whether it or the others are cut off, nobody knows.
        ([GOOD, CUT_OFF, CUT_OFF], False, HealthState.UNREACHABLE, ["b", "c"]),
        ([GOOD, CUT_OFF], False, HealthState.UNREACHABLE, ["b"]),
        ([GOOD, CUT_OFF, GOOD], False, HealthState.LEAVE, ["b"]),
        ([GOOD, CUT_OFF, BAD], False, HealthState.LEAVE, ["b", "c"]),
        ([CUT_OFF, CUT_OFF, GOOD], False, HealthState.LEAVE, ["a", "b"]),
        # One node alone: it is left once.
        ([FAILED], False, HealthState.LEAVE, ["a"]),
        ([FAILED], True, HealthState.ALL_FAILED, ["a"]),
        ([ABSENT], False, HealthState.NOT_RUN, ["a"]),
        ([SILENT], False, HealthState.LEAVE, ["a"]),
        ([LATE], True, HealthState.NO_ANSWER, ["a"]),
    ],
)
def test_what_follows_from_the_answers(
    answers: list[NodeAnswer | None], left_before: bool, state: HealthState, failed: list[str]
) -> None:
    nodes = "abc"[: len(answers)]
    given = {
        node: answer for node, answer in zip(nodes, answers, strict=True) if answer is not None
    }
    found = judge_answers(
        nodes,
        given,
        silent=dict.fromkeys(nodes, "no answer"),
        batch_host="a",
        left_before=left_before,
    )
    assert found.state is state
    assert sorted(found.failed) == failed
    for node, text in found.failed.items():
        assert text == (given[node].failure if node in given else "no answer")


def test_an_answer_of_another_node_is_left_out() -> None:
    found = judge_answers("a", {"a": GOOD, "z": BAD}, silent={}, batch_host="a", left_before=False)
    assert (found.state, found.failed) == (HealthState.HEALTHY, {})
