"""How probable it is that a node is the faulty one, and when that suffices."""

import pytest

from slurm_restart.core.node_search import MIN_FAILURES, THRESHOLD, node_suspects
from slurm_restart.core.node_trials import NodeTrial


def trial(nodes: str, failed: str) -> NodeTrial:
    return NodeTrial(nodes=frozenset(nodes), failed=failed == "fails")


def found(*trials: NodeTrial) -> list[str]:
    return [suspect.node for suspect in node_suspects(trials) if suspect.is_found]


def suspects(*trials: NodeTrial) -> str:
    return "".join(suspect.node for suspect in node_suspects(trials))


NARROWED = (
    trial("abcd", "fails"),
    trial("cdef", "fails"),
    trial("abde", "fails"),
    trial("abce", "runs"),
)


def test_a_node_is_found_once_attempts_without_it_run() -> None:
    assert found(*NARROWED[:3]) == []
    assert found(*NARROWED) == ["d"]
    assert node_suspects(NARROWED)[0].evidence == (
        "search: 3 of 3 attempts on it failed without a known cause, 1 without it ran on: "
        "faulty with a probability of 93%, 90% suffice"
    )


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_nothing_is_found_where_every_attempt_fails(count: int) -> None:
    """That is the run's own fault as probably as a node's."""
    sets = ["abcd", "cdef", "adeg", "abch", "efgh", "abgh", "cdgh", "abef", "ace", "bdf", "gh", "a"]
    assert found(*(trial(nodes, "fails") for nodes in sets[:count])) == []


def test_failures_on_disjoint_nodes_are_the_runs_own() -> None:
    assert suspects(trial("ab", "fails"), trial("cd", "fails")) == ""


def test_two_failures_never_suffice() -> None:
    trials = [trial("ab", "fails"), trial("ac", "fails"), *[trial("bc", "runs")] * 9]
    assert node_suspects(trials)[0].probability > THRESHOLD
    assert MIN_FAILURES == 3
    assert found(*trials) == []


def test_a_node_on_which_an_attempt_ran_needs_more_evidence() -> None:
    mixed = [trial("ab", "fails"), trial("ac", "runs"), *[trial("ad", "fails")] * 2]
    mixed += [trial("bcd", "runs")] * 2
    [suspect] = [suspect for suspect in node_suspects(mixed) if suspect.node == "a"]
    assert (suspect.failed, suspect.ran, suspect.ran_without) == (3, 1, 2)
    assert not suspect.is_found
    assert found(*mixed, *[trial("ad", "fails"), trial("bcd", "runs")] * 2) == ["a"]


def test_a_node_that_ran_last_is_no_suspect() -> None:
    assert suspects(trial("abcd", "fails"), trial("cd", "runs")) == "ab"


def test_nodes_that_always_failed_together_are_equally_suspected() -> None:
    first, second = node_suspects([trial("ba", "fails")])
    assert (first.node, second.node) == ("a", "b")
    assert first.probability == second.probability


def test_two_faulty_nodes_are_suspected_both() -> None:
    trials = [trial("abcd", "fails")] * 2 + [trial("ac", "fails")] * 2 + [trial("bc", "fails")] * 2
    assert suspects(*trials, *[trial("cd", "runs")] * 3) == "ab"


def test_many_groups_of_nodes_take_no_pairs_and_little_time() -> None:
    names = [f"n{number}" for number in range(2000)]
    trials = [
        NodeTrial(nodes=frozenset(n for n in names if int(n[1:]) >> bit & 1), failed=True)
        for bit in range(8)
    ]
    assert node_suspects(trials)[0].node == "n1023"
