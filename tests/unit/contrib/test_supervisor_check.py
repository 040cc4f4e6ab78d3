"""What is wrong after a trial of a supervisor's crash point is reported."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contrib.crash_points_parts.points import Mode, Point
from contrib.crash_points_parts.supervisor_check import violations
from contrib.crash_points_parts.supervisor_scenarios import FOLLOWED
from contrib.crash_points_parts.trial import ShownJob

JOB, DEPENDENT = 7, 8
DONE = ShownJob("COMPLETED", "None", "")


class FakeTrial(SimpleNamespace):
    """An in-place restart that nothing has interrupted, as its files show it."""

    def lines(self, name: str) -> list[str]:
        return self.files.get(name, [])

    def starts(self) -> list[tuple[int, int]]:
        return [(int(number), int(step)) for number, step in map(str.split, self.lines("started"))]

    def processes(self) -> list[str]:
        return self.left

    def show(self) -> None:
        self.looked = True

    def is_final(self, _jobs: object) -> bool:
        return self.final

    def attempt(self, number: int, name: str) -> Path:
        return self.run_dir / f"attempts/{number}/{name}.json"

    def log(self, number: int, text: str) -> None:
        with (self.run_dir / "run.log").open("a") as stream:
            stream.write(f"[run_{number + 1}] 2026-01-02 03:04:05,678 INFO:   {text}\n")


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def trial(tmp_path: Path) -> FakeTrial:
    found = FakeTrial(
        scenario=FOLLOWED["in-place"],
        point=Point(scenario="in-place", mode=Mode.SUPERVISOR),
        reached=False,
        job_id=JOB,
        dependent=DEPENDENT,
        folder=tmp_path,
        run_dir=tmp_path / "run",
        files={"started": ["0 0", "1 5"], "saved": ["5", "10"], "finished": ["1"]},
        left=[],
        final=True,
        ended=[{"attempt": 1}],
        job={"Restarts": "0"},
    )
    found.cluster = SimpleNamespace(ends=lambda _: found.ended, job=lambda _: found.job)
    for step in (5, 10):
        (tmp_path / "model_dir").mkdir(exist_ok=True)
        (tmp_path / f"model_dir/checkpoint_{step}.mdl").touch()
    for number, category in enumerate(("network.rendezvous", "completed")):
        write(found.attempt(number, "fence"), {"token": str(number)})
        write(found.attempt(number, "start"), {})
        write(found.attempt(number, "end"), {"category": category})
        found.log(number, f"ended as {category}")
    write(found.run_dir / "summary.json", {"runs": [{"attempt": 0}, {"attempt": 1}]})
    return found


def check(trial: FakeTrial, job: ShownJob = DONE, dependent: ShownJob = DONE) -> list[str]:
    return violations(trial, {JOB: job, DEPENDENT: dependent})


def test_nothing_is_wrong(trial: FakeTrial) -> None:
    assert check(trial) == []
    assert trial.looked


def test_a_death_may_cost_one_attempt(trial: FakeTrial) -> None:
    trial.files |= {"started": ["0 0", "1 5", "2 10"], "finished": ["2"]}
    for name in ("fence", "start", "end"):
        write(trial.attempt(2, name), {"token": "2", "category": "completed"})
    trial.log(2, "ended as completed")
    write(trial.run_dir / "summary.json", {"runs": [{"attempt": each} for each in range(3)]})
    trial.job = {"Restarts": "1"}
    assert "3 trainers were started, expected 2" in check(trial)
    trial.reached = True
    assert check(trial) == []


def test_an_end_that_is_not_the_scenarios(trial: FakeTrial) -> None:
    trial.final = False
    running = ShownJob("RUNNING", "None", "")
    assert check(trial, running) == ["the job is RUNNING (None), expected COMPLETED"]
    assert check(trial, DONE, running) == [
        "the dependent job is RUNNING (None), expected COMPLETED"
    ]


def append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


Break = Callable[[FakeTrial], object]
BREAKS: tuple[tuple[str, Break], ...] = (
    (
        "attempt 1 has started a trainer while",
        lambda it: it.files.update({"two-at-once": ["attempt 1"]}),
    ),
    ("0 trainers have finished", lambda it: it.files.pop("finished")),
    ("after attempt 0 finished", lambda it: it.files.update(finished=["0"])),
    ("trainers were started by the attempts", lambda it: it.files.update(started=["0 0", "0 5"])),
    ("started from the steps (0, 0)", lambda it: it.files.update(started=["0 0", "1 0"])),
    ("progress was lost", lambda it: it.files.update(started=["0 5", "1 0"])),
    (
        "checkpoint of step 5 is gone",
        lambda it: (it.folder / "model_dir/checkpoint_5.mdl").unlink(),
    ),
    ("start.json is damaged", lambda it: append(it.attempt(0, "start"), "}")),
    (
        "progress.jsonl is damaged",
        lambda it: (it.run_dir / "attempts/0/progress.jsonl").write_text("{\n"),
    ),
    ("run.log has a damaged line", lambda it: append(it.run_dir / "run.log", "half of a li")),
    ("the attempts are", lambda it: (it.run_dir / "attempts/3").mkdir()),
    ("3 attempts, expected 2", lambda it: (it.run_dir / "attempts/2").mkdir()),
    ("without a fence", lambda it: it.attempt(0, "fence").unlink()),
    ("the same token", lambda it: write(it.attempt(0, "fence"), {"token": "1"})),
    ("attempt 0 has no end record", lambda it: it.attempt(0, "end").unlink()),
    ("does not tell how attempt 0", lambda it: (it.run_dir / "run.log").write_text("")),
    (
        "the last end record says unknown",
        lambda it: write(it.attempt(1, "end"), {"category": "unknown"}),
    ),
    (
        "summary.json has the attempts []",
        lambda it: write(it.run_dir / "summary.json", {"runs": []}),
    ),
    ("ends of the attempts [1, 1]", lambda it: it.ended.append({"attempt": 1})),
    ("has requeued the job 1 times", lambda it: it.job.update(Restarts="1")),
    ("a process is left: sleep 9", lambda it: it.left.append("sleep 9")),
)


@pytest.mark.parametrize(("expected", "break_it"), BREAKS, ids=[text for text, _ in BREAKS])
def test_what_is_wrong_is_reported(trial: FakeTrial, expected: str, break_it: Break) -> None:
    break_it(trial)
    assert any(expected in found for found in check(trial))
