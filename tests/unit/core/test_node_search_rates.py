"""How often the search finds a faulty node, and how often it blames a healthy one: many runs.

The table in docs/explanation/node-search.md has these figures; here are their bounds.
"""

from dataclasses import dataclass

import pytest

from tests.unit.core.node_search_simulation import RunSettings, Summary, WorldKind, simulate

RUNS = 100
ALL_OF_EIGHT = RunSettings(nodes=8, wanted=8, least=4)
FOUR_OF_EIGHT = RunSettings(nodes=8, wanted=4, least=4)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What has to hold for the runs of one row."""

    finished: float = 1.0
    found: float = 0.0
    blamed: float = 0.0
    most_failures: int = 30


@pytest.mark.parametrize(
    ("settings", "kind", "bound"),
    [
        (ALL_OF_EIGHT, WorldKind(faulty=1), Bound(found=1.0, most_failures=4)),
        (FOUR_OF_EIGHT, WorldKind(faulty=1), Bound(most_failures=4)),
        (ALL_OF_EIGHT, WorldKind(faulty=1, rate=0.5), Bound(blamed=0.15)),
        (ALL_OF_EIGHT, WorldKind(faulty=2), Bound(finished=0.2, blamed=0.02)),
        (FOUR_OF_EIGHT, WorldKind(faulty=2), Bound(finished=0.6, blamed=0.02)),
        (ALL_OF_EIGHT, WorldKind(own=1.0), Bound(finished=0.0)),
        (FOUR_OF_EIGHT, WorldKind(own=1.0), Bound(finished=0.0)),
        (ALL_OF_EIGHT, WorldKind(own=0.1), Bound(blamed=0.03)),
        (FOUR_OF_EIGHT, WorldKind(own=0.1), Bound(blamed=0.03)),
        (ALL_OF_EIGHT, WorldKind(own=0.5), Bound(finished=0.8, blamed=0.2)),
    ],
    ids=str,
)
def test_the_rates(settings: RunSettings, kind: WorldKind, bound: Bound) -> None:
    found = simulate(settings, kind, runs=RUNS)
    assert found.finished >= bound.finished
    assert found.blamed <= bound.blamed
    assert found.most_failures <= bound.most_failures
    assert found.found >= bound.found


def test_without_ends_at_checkpoints_a_faulty_node_costs_no_more_failures() -> None:
    settings = RunSettings(nodes=8, wanted=8, least=4, stops=False)
    found: Summary = simulate(settings, WorldKind(faulty=1), runs=RUNS)
    assert (found.finished, found.blamed) == (1.0, 0.0)
    assert found.most_failures <= 4
