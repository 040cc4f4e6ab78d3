"""Search for the faulty node of a run whose failures name none: how probable each explanation is.

Bayes' rule over the attempts of the run. The explanations are: the run itself (its program, data or
surroundings) fails at some rate wherever it runs; one node fails; two nodes fail. The rates stand
below. `tests/unit/core/test_node_search_rates.py` measures how often the result is wrong.
"""

from collections.abc import Sequence
from math import prod

from slurm_restart.core.node_trials import SEARCH_EVIDENCE, NodeTrial, suspected_nodes
from slurm_restart.frozen import frozen

THRESHOLD = 0.9
"""A node is found if it is the faulty one with at least this probability,"""
THRESHOLD_INTERMITTENT = 0.95
"""with this one where an attempt on it ran on as well,"""
MIN_FAILURES = 3
"""if so many attempts on it failed, and at least one without it ran on after a failure."""
_LIKELY = 0.5
"""A node with this probability and that many failures is not tested again."""
NEGLIGIBLE = 0.02
"""A node with a lower probability is no suspect."""

_NODE, _PAIR = 1 / 8, 1 / 512
"""Weight of the explanations that this node, these two nodes are faulty; the run itself: 1."""
_NODE_RATES = ((0.97, 0.75), (0.5, 0.25))
"""How often an attempt on a faulty node fails, and the weight of each rate."""
_RUN_RATES = ((0.995, 0.5), (0.5, 0.05), (0.1, 0.45))
"""How often an attempt fails on account of the run itself, and the weight of each rate."""
_OTHER = 0.03
"""How often an attempt without the faulty node fails all the same."""
_MAX_PAIRED = 64
"""Groups of nodes beyond which pairs are left out, for the time that they take in the hook."""


@frozen
class Suspect:
    """A node, and how probable it is that it is faulty."""

    node: str
    probability: float
    failed: int
    """Attempts on it that failed."""
    ran: int
    """Attempts on it that ran on."""
    ran_without: int
    """Attempts without it that ran on."""

    @property
    def is_likely(self) -> bool:
        """Whether no further failure is needed to find it: attempts without it suffice."""
        return self.failed >= MIN_FAILURES and self.probability >= _LIKELY

    @property
    def is_found(self) -> bool:
        """Whether the evidence suffices to exclude the node."""
        needed = THRESHOLD_INTERMITTENT if self.ran else THRESHOLD
        enough = self.failed >= MIN_FAILURES and self.ran_without > 0
        return enough and self.probability >= needed

    @property
    def evidence(self) -> str:
        """Why it is suspected, as one clause for people."""
        needed = THRESHOLD_INTERMITTENT if self.ran else THRESHOLD
        return (
            f"{SEARCH_EVIDENCE}{self.failed} of {self.failed + self.ran} attempts on it failed "
            f"without a known cause, {self.ran_without} without it ran on: faulty with a "
            f"probability of {self.probability:.0%}, {needed:.0%} suffice"
        )


def node_suspects(trials: Sequence[NodeTrial]) -> tuple[Suspect, ...]:
    """Return the suspects, the most probable first; equal ones in the order of their names.

    A node is one if its last attempt failed, or if the evidence against it suffices all the same.
    """
    last_failed = suspected_nodes(trials)
    found = [
        suspect
        for suspect in _rated(trials)
        if suspect.is_found or (suspect.node in last_failed and suspect.probability >= NEGLIGIBLE)
    ]
    return tuple(sorted(found, key=lambda suspect: (-suspect.probability, suspect.node)))


def _rated(trials: Sequence[NodeTrial]) -> list[Suspect]:
    failed = [trial.failed for trial in trials]
    groups: dict[tuple[bool, ...], list[str]] = {}
    for node in sorted({name for trial in trials if trial.failed for name in trial.nodes}):
        groups.setdefault(tuple(node in trial.nodes for trial in trials), []).append(node)
    return [
        Suspect(
            node=node,
            probability=probability,
            failed=sum(on and fails for on, fails in zip(pattern, failed, strict=True)),
            ran=sum(on and not fails for on, fails in zip(pattern, failed, strict=True)),
            ran_without=sum(
                not on and not fails for on, fails in zip(pattern, failed, strict=True)
            ),
        )
        for (pattern, nodes), probability in zip(
            groups.items(), _probabilities(groups, failed), strict=True
        )
        for node in nodes
    ]


def _probabilities(
    groups: dict[tuple[bool, ...], list[str]], failed: Sequence[bool]
) -> list[float]:
    """Return for each group how probable it is that one given node of it is faulty.

    Nodes that the same attempts had are one group: no evidence can tell them apart.
    """
    patterns, sizes = list(groups), [len(nodes) for nodes in groups.values()]
    weights = [
        _NODE * size * _likelihood(pattern, failed)
        for pattern, size in zip(patterns, sizes, strict=True)
    ]
    total = sum(weights) + sum(
        weight * prod(rate if fails else 1 - rate for fails in failed)
        for rate, weight in _RUN_RATES
    )
    for first, pattern in enumerate(patterns if len(patterns) <= _MAX_PAIRED else ()):
        for second in range(first, len(patterns)):
            same = first == second
            pairs = sizes[first] * (sizes[first] - 1) / 2 if same else sizes[first] * sizes[second]
            both = [a + b for a, b in zip(pattern, patterns[second], strict=True)]
            weight = _PAIR * pairs * _likelihood(both, failed)
            total += weight
            weights[first] += weight
            weights[second] += weight
    return [weight / size / total for weight, size in zip(weights, sizes, strict=True)]


def _likelihood(faulty: Sequence[int], failed: Sequence[bool]) -> float:
    """Return how probable the outcomes are with so many faulty nodes in each attempt."""
    total = 0.0
    for rate, weight in _NODE_RATES:
        runs = [(1 - _OTHER) * (1 - rate) ** count for count in faulty]
        total += weight * prod(
            1 - ran if fails else ran for ran, fails in zip(runs, failed, strict=True)
        )
    return total
