"""An end that the hook hears of again: what was decided stays decided, for that end only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.control.controller import Controller
from slurm_restart.control.journal import RunKey, open_journal
from slurm_restart.control.process_end import EndedJob, process_end
from slurm_restart.control.site import Site
from slurm_restart.core.category import Category
from slurm_restart.core.history import Action
from slurm_restart.core.job import JobState
from tests.unit.core import facts


class Requests:
    """A Slurm that writes down what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []

    def update(self, _job_id: int, fields: Mapping[str, str]) -> None:
        self.asked.append(("update", dict(fields)))

    def requeue(self, _job_id: int) -> None:
        self.asked.append(("requeue", {}))

    def release_job(self, _job_id: int) -> None:
        self.asked.append(("release", {}))

    def cancel(self, _job_id: int) -> None:
        self.asked.append(("cancel", {}))


def hear_of(
    tmp_path: Path,
    slurm: Requests,
    *,
    exit_code: int,
    cause: Category,
    max_restarts: int = 0,
    **end: Any,
) -> bool:
    """The hook hears of an end of attempt 0."""
    controller = Controller(slurm=slurm, site=Site(state_dir=tmp_path), cluster="c")  # type: ignore[arg-type]
    return process_end(
        controller,
        EndedJob(
            end=facts.end(exit_code=exit_code, **end),
            job=facts.job(),
            comment_record=facts.comment_record(
                max_restarts=max_restarts, exit=exit_code, cause=cause
            ),
            nodes=facts.nodes(),
            source="hook",
        ),
    )


def actions(tmp_path: Path) -> list[Action]:
    """What the journal says now of the ends."""
    key = RunKey(cluster="c", job_id=7, uid=1000, run=facts.RUN)
    with open_journal(tmp_path, key) as journal:
        return [end.action for end in journal.history.ends]


FAILED = {"exit_code": 1, "cause": Category.UNKNOWN}
COMPLETED = {"exit_code": 0, "cause": Category.COMPLETED}
# As on 22.05, which shows COMPLETING only, and from 24.11 on.
REQUEUED = ({"restarts": 1, "signal": 1}, {"restarts": 1, "state": JobState.PENDING})


@pytest.mark.parametrize("requeued", REQUEUED)
def test_a_run_that_was_to_stop_is_cancelled(tmp_path: Path, requeued: dict[str, Any]) -> None:
    slurm = Requests()
    assert hear_of(tmp_path, slurm, **FAILED) is False
    assert slurm.asked == []
    assert hear_of(tmp_path, slurm, **FAILED | {"exit_code": 0} | requeued) is False
    assert slurm.asked == [("cancel", {})]
    assert actions(tmp_path) == [Action.CANCEL]


@pytest.mark.parametrize("requeued", REQUEUED)
def test_a_run_that_had_finished_ends_once_more(tmp_path: Path, requeued: dict[str, Any]) -> None:
    slurm = Requests()
    assert hear_of(tmp_path, slurm, **COMPLETED) is False
    assert hear_of(tmp_path, slurm, **COMPLETED | requeued) is True
    assert slurm.asked == [("update", {"StartTime": "now+2"})]
    assert actions(tmp_path) == [Action.ADJUST]


def test_an_end_that_is_heard_of_twice_asks_for_nothing(tmp_path: Path) -> None:
    slurm = Requests()
    hear_of(tmp_path, slurm, **FAILED)
    hear_of(tmp_path, slurm, **FAILED)
    assert slurm.asked == []
    assert actions(tmp_path) == [Action.LEAVE]


def test_what_a_person_has_requeued_on_hold_is_left_alone(tmp_path: Path) -> None:
    slurm = Requests()
    held = {"reason": "job_requeued_in_held_state", "restarts": 1, "state": JobState.PENDING}
    hear_of(tmp_path, slurm, **FAILED | held)
    hear_of(tmp_path, slurm, **FAILED | held)
    assert slurm.asked == []


def test_a_silent_attempt_on_other_nodes_is_not_the_one_before(tmp_path: Path) -> None:
    slurm = Requests()
    restartable = FAILED | {"max_restarts": 3}
    assert hear_of(tmp_path, slurm, **restartable) is True
    prolog = {"reason": "launch_failed_requeued_held", "restarts": 2, "exit_code": 0}
    again = {"nodes": ("csx2", "csx3", "csx4"), "state": JobState.PENDING}
    assert hear_of(tmp_path, slurm, **restartable | prolog | again) is True
    assert actions(tmp_path) == [Action.REQUEUE, Action.RELEASE]
    assert [verb for verb, _ in slurm.asked].count("requeue") == 1


@pytest.mark.parametrize("requeued", [{"restarts": 1}, {"state": JobState.PENDING}])
def test_a_job_that_is_requeued_is_not_requeued_once_more(
    tmp_path: Path, requeued: dict[str, Any]
) -> None:
    slurm = Requests()
    restartable = FAILED | {"max_restarts": 3}
    hear_of(tmp_path, slurm, **restartable)
    assert hear_of(tmp_path, slurm, **restartable | requeued) is True
    verbs = [verb for verb, _ in slurm.asked]
    assert verbs == ["requeue", "update", "update"]


def test_a_requeue_that_slurm_does_not_show_is_asked_for_again(tmp_path: Path) -> None:
    slurm = Requests()
    for _ in range(2):
        hear_of(tmp_path, slurm, **FAILED | {"max_restarts": 3})
    assert [verb for verb, _ in slurm.asked] == ["requeue", "update"] * 2
