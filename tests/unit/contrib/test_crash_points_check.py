"""Each thing that must hold after a trial is reported if it does not."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contrib.crash_points_parts.check import violations
from contrib.crash_points_parts.points import Mode, Point
from contrib.crash_points_parts.scenarios import SCENARIOS
from contrib.crash_points_parts.trial import ShownJob, Trial
from contrib.testing.crash_points import Caller, When
from contrib.testing.scripted_runs import Attempt, ScriptedRun

JOB, DEPENDENT = 7, 8
STARTED = (1000, 1010, 1060)
UNTIL = 1050


class FakeRun(ScriptedRun):
    """A run whose attempts are given."""

    def attempts(self) -> list[Attempt]:
        return self.cluster.given

    def has_ended(self, attempt: int) -> bool:
        return attempt < len(self.cluster.given)


class FakePoints:
    """Calls of the hook, of which one was interrupted."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.reconciler: list[tuple[float, str]] = []

    def reached(self, _job_id: int, _caller: object) -> int | None:
        return self.number

    def timed_calls(self, _job_id: int, caller: Caller) -> list[tuple[float, str]]:
        if caller is not Caller.HOOK:
            return self.reconciler if caller is Caller.RECONCILER else []
        calls = ("squeue -j 7", "scontrol requeue 7", "scontrol update JobId=7")
        return [(1001.0 + number, call) for number, call in enumerate(calls)]


class FakeCluster(SimpleNamespace):
    """What the checks ask a cluster."""

    def journal(self, job_id: int) -> list[dict[str, Any]]:
        files = sorted(self.state_dir.glob(f"journal/c/{job_id}-*.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def end(number: int, category: str, action: str) -> dict[str, Any]:
    return {
        "event": "end",
        "restarts": number,
        "requeued": False,
        "category": category,
        "action": action,
    }


class Facts:
    """The scenario `exclude` as it has to end; tests change a part of it."""

    def __init__(self, directory: Path) -> None:
        self.attempts = [
            Attempt(STARTED[0], ("csx1", "csx2")),
            Attempt(STARTED[1], ("csx1", "csx3")),
            Attempt(STARTED[2], ("csx1", "csx2")),
        ]
        self.events = [
            end(0, "hardware.accelerator", "requeue"),
            {"event": "exclude", "node": "csx2", "until": UNTIL},
            end(1, "unknown", "requeue"),
            end(2, "completed", "leave"),
        ]
        self.jobs = {
            JOB: ShownJob("COMPLETED", "None", ""),
            DEPENDENT: ShownJob("COMPLETED", "None", ""),
        }
        self.later_phase_excludes = True
        self.mode = Mode.HOOK
        self.forgotten = 0
        self.report_lost = False
        self.points = FakePoints()
        self._directory = directory

    def violations(self, scenario: str = "exclude", *, damage: str = "") -> list[str]:
        journal = self._directory / "journal" / "c" / f"{JOB}-0-x.jsonl"
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.write_text("\n".join(map(json.dumps, self.events)) + "\n" + damage)
        cluster: Any = FakeCluster(
            given=self.attempts, state_dir=self._directory, crash_points=self.points
        )
        trial = Trial(
            point=Point(scenario=scenario, mode=self.mode, call="1", when=When.AFTER),
            cluster=cluster,
            partition=0,
            run=FakeRun(cluster, JOB, "x", self._directory),
            dependent=DEPENDENT,
            begun=0.0,
            forgotten=self.forgotten,
            report_lost=self.report_lost,
            later_phase_excludes=self.later_phase_excludes,
        )
        if damage:
            trial.events = lambda _job_id=None: self.events  # type: ignore[method-assign]
        return violations(trial, self.jobs)


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    return Facts(tmp_path)


def test_nothing_is_wrong(facts: Facts) -> None:
    assert facts.violations() == []


def set_state(job_id: int, state: str) -> Callable[[Facts], None]:
    def change(facts: Facts) -> None:
        facts.jobs[job_id] = ShownJob(state, "None", "")

    return change


def remove_attempt(facts: Facts) -> None:
    facts.attempts.pop()


def add_attempt(facts: Facts) -> None:
    facts.attempts.append(Attempt(1100, ("csx1", "csx2")))


def run_on_blamed_node(facts: Facts) -> None:
    facts.attempts[1] = Attempt(STARTED[1], ("csx1", "csx2"))


def shrink(facts: Facts) -> None:
    facts.attempts[2] = Attempt(STARTED[2], ("csx1",))


def lose_end(facts: Facts) -> None:
    del facts.events[2]


def other_category(facts: Facts) -> None:
    facts.events[0]["category"] = "requeued"


def other_action(facts: Facts) -> None:
    facts.events[-1]["action"] = "requeue"


def never_lift(facts: Facts) -> None:
    facts.jobs[JOB] = ShownJob("COMPLETED", "None", "csx2")


def exclude_unknown(facts: Facts) -> None:
    facts.jobs[DEPENDENT] = ShownJob("COMPLETED", "None", "csx[2-3]")


def not_excluded_by_later_phase(facts: Facts) -> None:
    facts.later_phase_excludes = False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_state(JOB, "FAILED"), "the job is FAILED"),
        (set_state(DEPENDENT, "CANCELLED"), "the dependent job is CANCELLED"),
        (lambda facts: facts.jobs.clear(), "the job is unknown to Slurm"),
        (remove_attempt, "2 attempts, expected 3"),
        (add_attempt, "4 attempts, expected 3"),
        (run_on_blamed_node, "ran on the blamed node csx2"),
        (shrink, "attempts of (2, 2, 1) nodes"),
        (lose_end, "ends hardware.accelerator restart, completed stop, expected"),
        (other_category, "ends requeued restart"),
        (other_action, "completed restart, expected"),
        (never_lift, "the exclusion of ['csx2'] was never lifted"),
        (exclude_unknown, "excludes ['csx3'], of which no journal knows"),
        (not_excluded_by_later_phase, "the later phase has never excluded csx2"),
    ],
)
def test_what_is_wrong_is_reported(
    facts: Facts, change: Callable[[Facts], None], message: str
) -> None:
    change(facts)
    assert message in "; ".join(facts.violations())


def test_a_damaged_journal_is_reported(facts: Facts) -> None:
    assert "line 5 is damaged" in "; ".join(facts.violations(damage='{"event":'))


def test_an_exclusion_that_is_over_may_be_used(facts: Facts) -> None:
    facts.attempts[1] = Attempt(UNTIL, ("csx1", "csx2"))
    assert facts.violations() == []


def test_an_end_that_is_recorded_again_counts_once(facts: Facts) -> None:
    facts.events.insert(1, end(0, "hardware.accelerator", "requeue"))
    assert facts.violations() == []


def test_what_slurmctld_has_forgotten_may_run_once_more(facts: Facts) -> None:
    add_attempt(facts)
    facts.forgotten = 1
    assert facts.violations() == []
    add_attempt(facts)
    assert facts.violations() != []


def test_an_exclusion_may_stay_where_a_forgotten_attempt_was_the_last(facts: Facts) -> None:
    never_lift(facts)
    facts.forgotten = 1
    assert facts.violations() != []
    facts.attempts[2] = Attempt(UNTIL - 10, ("csx1", "csx3"))
    assert facts.violations() == []


def test_a_report_that_slurmctld_has_forgotten_blames_no_node(facts: Facts) -> None:
    facts.forgotten = 1
    run_on_blamed_node(facts)
    not_excluded_by_later_phase(facts)
    facts.report_lost = True
    assert facts.violations() != []  # what the hook was given says it
    del facts.events[1]
    assert facts.violations() == []


def test_a_final_failure_may_be_cancelled_where_the_hook_was_killed(facts: Facts) -> None:
    facts.attempts = [Attempt(1000, ("csx1",))]
    facts.events = [end(0, "config", "leave")]
    facts.jobs = {
        JOB: ShownJob("CANCELLED", "None", ""),
        DEPENDENT: ShownJob("CANCELLED", "None", ""),
    }
    assert facts.violations("final") == []
    facts.mode = Mode.SLURMCTLD
    assert facts.violations("final") == []
    facts.mode = Mode.HELPER
    assert "the job is CANCELLED" in "; ".join(facts.violations("final"))


@pytest.mark.parametrize("number", [1, 2])
def test_scancel_counts_from_the_requeue(facts: Facts, number: int) -> None:
    facts.mode = Mode.SCANCEL
    facts.points.number = number
    facts.jobs[JOB] = ShownJob("CANCELLED", "None", "")
    del facts.attempts[1:]
    assert (facts.violations() == []) == (number == 2)


@pytest.mark.parametrize("at", [999.0, 1020.0])
def test_scancel_counts_from_a_requeue_by_the_reconciler(facts: Facts, at: float) -> None:
    facts.mode = Mode.SCANCEL
    facts.points.number = 1
    facts.points.reconciler = [(at, "scontrol requeue 7")]
    facts.jobs[JOB] = ShownJob("CANCELLED", "None", "")
    del facts.attempts[1:]
    assert (facts.violations() == []) == (at < STARTED[1])


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELLED"])
def test_a_cancelled_run_must_not_come_back(facts: Facts, state: str) -> None:
    facts.mode = Mode.SCANCEL
    facts.points.number = 2
    facts.jobs[JOB] = ShownJob(state, "None", "")
    found = "; ".join(facts.violations())
    assert "started 2 times more after a person had cancelled it" in found
    assert ("cancelled by a person after a requeue, but COMPLETED" in found) == (
        state == "COMPLETED"
    )


def test_every_scenario_ends_once_more_than_it_restarts() -> None:
    for scenario in SCENARIOS.values():
        assert [end.restarts for end in scenario.ends[:-1]] == [True] * (len(scenario.ends) - 1)
        assert not scenario.ends[-1].restarts
        assert len(scenario.attempts) <= len(scenario.ends)
        assert len(scenario.sizes) in {0, len(scenario.ends)}
