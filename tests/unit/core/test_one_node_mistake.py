"""A mistake that the processes of one node alone have found, in a run of several nodes."""

from collections.abc import Sequence
from typing import Any

import pytest

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.one_node_mistake import is_of_one_node, may_be_the_nodes
from slurm_restart.core.ran_before import RunSoFar, doubted
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import LogScanner, make_matcher
from tests.unit.core.facts import ended

MATCHER = make_matcher(load_rules(site=None))
MISTAKES = {Category.CODE, Category.CONFIG, Category.DATA_CORRUPT, Category.OOM_HOST}
FOUR = ("csx1", "csx2", "csx3", "csx4")


def raised(error: str) -> str:
    return f'Traceback (most recent call last):\n  File "t.py", line 3, in <module>\n{error}\n'


def exited(node: str, task: int | str, how: str = "Exited with exit code 1") -> str:
    return f"srun: error: {node}: task{'s' if '-' in str(task) else ''} {task}: {how}\n"


REST = (
    "srun: Terminating StepId=5.0\n"
    "slurmstepd-csx1: error: *** STEP 5.0 ON csx1 CANCELLED AT 2026-11-30T08:45:59 ***\n"
    "srun: error: csx1: task 0: Terminated\n"
    "srun: error: csx4: task 3: Killed\n"
)
ALONE = exited("csx3", 2) + REST
EACH = "".join(exited(node, task) for task, node in enumerate(FOUR))
LOST = raised("ConnectionError: peer went away")
VALUE = raised("ValueError: cannot reshape array of size 17 into shape (4,4)")


def judged(text: str, nodes: Sequence[str] = FOUR) -> Attribution:
    scanner = LogScanner(MATCHER)
    scanner.feed(text.encode())
    return attribute_log(ExitFacts(exit_code=1, nodes=tuple(nodes)), scanner.findings())


@pytest.mark.parametrize(
    "error",
    [
        "ValueError: cannot reshape array of size 17 into shape (4,4)",
        "AssertionError",
        "RuntimeError: allreduce produced inconsistent values",
        "IndexError: list index out of range",
        "RuntimeError: gradient checksum mismatch: got 7888, expected 0003",
        "MemoryError: Unable to allocate 512. GiB for an array",
    ],
)
def test_what_would_stop_the_run_is_doubted_where_one_node_alone_reports_it(error: str) -> None:
    found = judged(raised(error) + ALONE)
    assert found.category in MISTAKES
    doubt = doubted(found, RunSoFar(ends=(), made=False, nodes=FOUR))
    assert (doubt.category, doubt.of_one_node) == (Category.UNKNOWN, True)
    assert (doubt.rule, doubt.root_cause) == (found.rule, found.root_cause)


@pytest.mark.parametrize(
    ("text", "nodes", "alone"),
    [
        (VALUE + ALONE, FOUR, True),
        (VALUE + exited("csx3", 2, "Exited with exit code 1") + exited("csx1", 0), FOUR, False),
        (VALUE + exited("csx[1-4]", "0-3"), FOUR, False),
        # The others were ended before they could report it in the same way.
        (VALUE * 3 + ALONE, FOUR, False),
        (VALUE * 4 + exited("csx3", "8-11") + REST, FOUR, True),
        (VALUE + ALONE, ("csx3",), False),
        # The others have lost it, and say so.
        (VALUE + LOST * 3 + EACH, FOUR, True),
        (LOST + VALUE + LOST * 2 + EACH, FOUR, True),
        # Of two texts that are printed at once, a line may be lost.
        (VALUE + LOST * 2 + EACH, FOUR, True),
        (VALUE + LOST + EACH, FOUR, False),
        (VALUE * 2 + LOST * 2 + EACH, FOUR, False),
        (VALUE * 2 + LOST * 6 + exited("csx1", "0-1") + exited("csx[2-4]", "2-7"), FOUR, True),
        (VALUE + LOST * 3 + EACH, ("csx3",), False),
        (VALUE + ALONE, (), False),
        # Nothing says which process it was.
        (VALUE, FOUR, False),
        (VALUE + REST, FOUR, False),
    ],
)
def test_when_it_is_of_one_node(text: str, nodes: Sequence[str], alone: bool) -> None:
    assert is_of_one_node(judged(text, nodes), nodes) is alone


@pytest.mark.parametrize(
    ("nodes", "before", "may_be"),
    [
        ("a b c d", [], True),
        ("a b c d", ["a b c d"], True),
        ("a b", ["a b c d", "a b c d"], True),
        ("a", ["a b", "a b c d", "a b c d"], True),
        # On different nodes.
        ("c d", ["a b", "a b c d"], False),
        # No others can be tried.
        ("a b", ["a b", "a b"], False),
        # The search has not found it.
        ("a", ["a b", "a b c", "a b c d", "a b c d e"], False),
    ],
)
def test_until_when_a_node_may_be_to_blame(nodes: str, before: list[str], may_be: bool) -> None:
    assert may_be_the_nodes(nodes.split(), [each.split() for each in before]) is may_be


def end(rule: str, **changes: object) -> EndEvent:
    values: dict[str, Any] = {"rule": rule, "nodes": FOUR, "progress": False}
    return ended(Category.UNKNOWN, **values | changes)


def test_it_is_believed_once_it_has_come_on_different_nodes() -> None:
    found = judged(VALUE + ALONE)
    ends = (end(found.rule), end(found.rule, nodes=("csx1", "csx2")))
    elsewhere = doubted(found, RunSoFar(ends=ends, made=False, nodes=("csx3", "csx4")))
    assert elsewhere == found
    again = doubted(found, RunSoFar(ends=ends, made=False, nodes=("csx2", "csx3")))
    assert again.of_one_node


def test_the_failure_after_the_last_progress_is_none_of_those_that_the_search_could_avoid() -> None:
    found = judged(VALUE + ALONE)
    first = end(found.rule, progress=True, step=15)
    second, third = end(found.rule, step=15), end(found.rule, step=15)
    searched = RunSoFar(ends=(first, second), made=False, nodes=FOUR, step=15)
    assert doubted(found, searched).of_one_node
    tried = RunSoFar(ends=(first, second, third), made=False, nodes=FOUR, step=15)
    assert doubted(found, tried) == found
    # It has come on different nodes.
    elsewhere = end(found.rule, progress=True, step=15, nodes=("csx5", "csx6"))
    assert doubted(found, RunSoFar(ends=(elsewhere,), made=False, nodes=FOUR, step=15)) == found


def test_a_bad_record_of_a_run_that_had_good_ones_is_no_nodes_fault() -> None:
    found = judged(raised("RuntimeError: checksum mismatch in record 4711") + ALONE)
    assert found.category is Category.DATA_CORRUPT
    assert doubted(found, RunSoFar(ends=(), made=True, nodes=FOUR)) == found
    ran = ended(Category.HARDWARE_NODE, progress=True)
    assert doubted(found, RunSoFar(ends=(ran,), made=False, nodes=FOUR)) == found
    # The search for a faulty node has begun with it.
    searched = RunSoFar(ends=(end(found.rule), ran), made=False, nodes=FOUR)
    assert doubted(found, searched).of_one_node
