"""The faults of contrib/mutations can be put into the package as it is."""

from pathlib import Path

from contrib.mutations_run import load, stages

PACKAGE = Path(__file__).parents[2] / "slurm_restart"
MUTATIONS = load()


def test_every_mutation_can_be_applied() -> None:
    problems = {mutation.id: mutation.problem(PACKAGE) for mutation in MUTATIONS}
    assert {name: text for name, text in problems.items() if text} == {}
    assert all(mutation.old != mutation.new for mutation in MUTATIONS)


def test_there_are_enough_and_each_has_its_own_id() -> None:
    assert len(MUTATIONS) >= 40
    assert len({mutation.id for mutation in MUTATIONS}) == len(MUTATIONS)
    assert {mutation.file.split("/")[0] for mutation in MUTATIONS} == {"core", "control"}


def test_the_nearest_tests_run_first() -> None:
    assert stages("core/decision.py") == [
        ["tests/unit/core/test_decision.py"],
        ["tests/unit/core"],
        ["tests/unit/control"],
    ]
