"""The output and the exit code of `csx-restart doctor`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from contrib.testing.json_output import read_json
from slurm_restart.cli import doctor
from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import CheckResult, Level
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.commands import Commands

GOOD = CheckResult(check="a.good", level=Level.OK, text="fine")
WEAK = CheckResult(check="a.weak", level=Level.WARNING, text="so so", remedy="look")
BAD = CheckResult(check="a.bad", level=Level.PROBLEM, text="wrong \x1b[2J", remedy="mend \x9b")
OPEN = CheckResult(check="a.open", level=Level.UNKNOWN, text="who knows", remedy="ask")
ALSO = CheckResult(check="a.also", level=Level.UNKNOWN, text="who knows", remedy="ask")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[CheckResult]:
    """What the checks find; that of `backend` finds nothing."""
    results: list[CheckResult] = []
    nothing = Context(site_path=Path("/s"), site_found=(), config_found="")
    monkeypatch.setattr(doctor, "gather", lambda _: nothing)
    monkeypatch.setattr(doctor, "examine", lambda _: tuple(results))
    monkeypatch.setattr(doctor, "run_check", lambda *_: ())
    return results


def run(*arguments: str) -> tuple[object, str]:
    """Return the exit code and the output."""
    done = CliRunner().invoke(doctor.command, arguments, standalone_mode=False)
    return done.return_value, done.output


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([], 0),
        ([GOOD], 0),
        ([GOOD, WEAK, OPEN], 0),
        ([BAD], 1),
        ([GOOD, WEAK, OPEN, BAD], 1),
    ],
)
def test_only_a_problem_is_exit_code_1(
    found: list[CheckResult], results: list[CheckResult], code: int
) -> None:
    found.extend(results)
    assert run()[0] == code
    assert run("--json")[0] == code


def test_the_text_names_check_finding_and_remedy(found: list[CheckResult]) -> None:
    found.extend([GOOD, WEAK, BAD])
    assert run()[1].splitlines() == [
        "ok       a.good: fine",
        "warning  a.weak: so so",
        "         remedy: look",
        r"PROBLEM  a.bad: wrong \x1b[2J",
        r"         remedy: mend \x9b",
        "0 unknown, 1 problem, 1 warning, 1 ok",
    ]


def test_checks_with_the_same_finding_share_a_line(found: list[CheckResult]) -> None:
    found.extend([OPEN, GOOD, ALSO])
    assert run()[1].splitlines() == [
        "unknown  a.open, a.also: who knows",
        "         remedy: ask",
        "ok       a.good: fine",
        "2 unknown, 0 problem, 0 warning, 1 ok",
    ]


def test_json_has_an_object_for_each_result(found: list[CheckResult]) -> None:
    found.extend([GOOD, OPEN, ALSO])
    assert read_json("doctor", run("--json")[1]) == [
        {"check": "a.good", "level": "ok", "text": "fine", "remedy": None},
        {"check": "a.open", "level": "unknown", "text": "who knows", "remedy": "ask"},
        {"check": "a.also", "level": "unknown", "text": "who knows", "remedy": "ask"},
    ]


def test_without_settings_and_slurmctld_it_still_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: Commands) -> dict[str, str]:
        raise SlurmUnavailableError("configuration: no answer within 10 s")

    monkeypatch.setattr(Commands, "config", silent)
    code, output = run("--site", str(tmp_path / "absent.toml"), "--json")
    results = {result["check"]: result for result in json.loads(output)}
    assert code == 1
    assert [name for name, result in results.items() if result["level"] == "problem"] == [
        "site.valid",
        "slurm.config",
    ]
    assert results["slurm.config"]["text"].endswith("no answer within 10 s")
    assert results["backend"]["level"] == "unknown"
