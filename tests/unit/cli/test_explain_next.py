"""`explain` shows what the next attempt waits for."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from slurm_restart.cli import explain
from slurm_restart.cli.find_run import Target
from slurm_restart.control.find_journal import Found
from slurm_restart.core.journal_events import Action, Event, IntendEvent, StartedEvent
from slurm_restart.core.progress_unit import ProgressUnit
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED

COMMENT = "csx-restart: failures=1/3 total=1 step=5 nodes=- | waits: 1 of 2 usable nodes"
WAITS: list[Event] = [
    facts.ended(),
    IntendEvent(
        at=100,
        submit_time=SUBMITTED,
        operations=("requeue", f"update\tStartTime=now+60\tAdminComment={COMMENT}"),
        exc_nodes=("csx2", "csx3"),
        num_nodes=2,
        start_time=160,
    ),
]


def explained(monkeypatch: pytest.MonkeyPatch, events: list[Event], *options: str) -> str:
    target = Target(job_id=7, run="0" * 16, uid=1, run_dir=None, job=None)
    found = Found(path=Path("/j"), events=tuple(events), damaged=())
    monkeypatch.setattr(explain, "resolve_known", lambda *_: (target, found))
    done = CliRunner().invoke(explain.command, ["7", *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_job_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = explained(monkeypatch, WAITS).splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("next attempt waits"))
    assert [line.split(maxsplit=1)[0] for line in lines[first + 1 :]] == [
        "size",
        "excluded",
        "not",
        "because",
    ]
    assert lines[first + 1].endswith("2 nodes")
    assert lines[first + 2].endswith("csx2,csx3")
    assert lines[first + 4].endswith("waits: 1 of 2 usable nodes")
    following = json.loads(explained(monkeypatch, WAITS, "--json"))["next"]
    assert (following["since"], following["num_nodes"]) == (100, 2)


def test_a_job_that_runs_or_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    started = StartedEvent(at=170, restarts=1, submit_time=SUBMITTED)
    for events in ([*WAITS, started], [facts.ended(action=Action.LEAVE)], []):
        assert "next attempt waits" not in explained(monkeypatch, events)
        assert json.loads(explained(monkeypatch, events, "--json"))["next"] is None
    assert "next attempt seen running" in explained(monkeypatch, [*WAITS, started])


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"from_step": 5, "step": 8, "progress": True}, "yes, from step 5 to 8\n"),
        (
            {"from_step": 0, "step": 4000, "progress": True, "unit": ProgressUnit.SECOND},
            "yes, from 0 s to 4000 s\n",
        ),
        ({"step": None, "progress": None}, "not known, steps unknown\n"),
    ],
)
def test_progress_is_shown_with_its_unit(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], shown: str
) -> None:
    assert f"progress     {shown}" in explained(monkeypatch, [facts.ended(**fields)])
    assert json.loads(explained(monkeypatch, [facts.ended(**fields)], "--json"))["ends"]
