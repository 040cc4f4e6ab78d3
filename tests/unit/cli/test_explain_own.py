"""`explain` of a run whose job requeues itself shows what Slurm was asked for."""

import pytest

from slurm_restart.cli import explain
from slurm_restart.cli.find_run import Target

RUN = {
    "status": "failed",
    "failure_reason": "Slurm: csx2 is DOWN",
    "category": "hardware.node",
    "expected_decision": "requeue (hardware.node: after progress)",
    "blamed_nodes": ["csx2"],
}


def explained(own: bool, **attempt: object) -> list[str]:
    target = Target(
        job_id=7,
        run="0123456789abcdef",
        uid=1,
        run_dir=None,
        job=None,
        summary={"self_requeue": own, "runs": [RUN | attempt]},
    )
    return explain._lines(target, None, observed=False)


def test_the_source_says_who_requeues() -> None:
    assert any("the job requeues itself" in line for line in explained(own=True))
    assert any("journal cannot be read here" in line for line in explained(own=False))


@pytest.mark.parametrize(("own", "name"), [(True, "decision"), (False, "expected_decision")])
def test_what_a_job_has_decided_itself_is_not_expected(own: bool, name: str) -> None:
    assert f"  {name:<18} requeue (hardware.node: after progress)" in explained(own=own)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (
            {
                "excluded": ["csx2", "csx3"],
                "num_nodes": 2,
                "not_before": "2026-11-29",
                "accepted": True,
            },
            ["not before 2026-11-29", "ExcNodeList csx2,csx3", "size 2"],
        ),
        ({"excluded": [], "num_nodes": None, "accepted": False}, ["refused see run.log"]),
        (
            {"excluded": [], "num_nodes": None, "accepted": None},
            ["answer not known see run.log"],
        ),
        (None, []),
        ("anything", []),
    ],
)
def test_what_was_asked_of_slurm(asked: object, shown: list[str]) -> None:
    lines = [" ".join(line.split()) for line in explained(own=True, requeue=asked)]
    assert "blamed csx2" in lines
    assert lines[lines.index("blamed csx2") + 1 :] == shown


@pytest.mark.parametrize(("in_place", "shown"), [(0, ""), (None, ""), (2, ", started in place")])
def test_an_attempt_that_was_started_in_place_says_so(in_place: object, shown: str) -> None:
    assert f"attempt 0{shown}: failed: Slurm: csx2 is DOWN" in explained(
        own=True, in_place=in_place
    )
