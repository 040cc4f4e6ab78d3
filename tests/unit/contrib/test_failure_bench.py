"""contrib/failure-bench: its score and its reading of cases and answers."""

import json
from pathlib import Path

import pytest

from contrib.failure_bench_parts.cases import Answer, BadCaseError, Case, read_answer, read_cases
from contrib.failure_bench_parts.score import by_confidence, score, score_by
from contrib.failure_bench_run import main
from tests.data.generator.case import RECOVERABLE

LINE = {
    "name": "a.b",
    "state": "FAILED",
    "exit_code": "1:0",
    "category": "code",
    "also": ["config"],
    "blame": ["n3"],
    "root_cause_line": "[rank3]: NameError:  x",
    "also_root_cause_lines": [],
}


def case(name: str, *categories: str, root: str = "", blame: str = "") -> Case:
    return Case(
        name=name,
        log=Path(name),
        state="FAILED",
        exit_code="1:0",
        categories=categories,
        roots=(root,) if root else (),
        blame=frozenset(blame.split()),
    )


def test_each_part_of_an_answer_is_scored_by_itself() -> None:
    cases = (
        case("lost", "network.fabric", root="peer closed", blame="n1"),
        case("futile", "code"),
        case("either", "unknown", "config"),
        case("none", "config"),
    )
    answers = {
        "lost": Answer(
            category="config", restart=False, root="peer closed", blame=frozenset({"n2"})
        ),
        "futile": Answer(category="unknown", restart=True),
        "either": Answer(category="config", restart=False, confidence="likely"),
    }
    found = score(cases, answers)
    assert (found.action, found.category, found.root, found.roots) == (1, 1, 1, 1)
    assert (found.lost, found.futile) == (1, 2)
    assert (found.wrongly_blamed, found.culprits, found.culprits_found) == (1, 1, 0)
    groups = score_by(by_confidence, cases, answers)
    assert {name: one.cases for name, one in groups.items()} == {
        "likely, stop": 1,
        "no answer": 1,
        "not said, restart": 1,
        "not said, stop": 1,
    }


def test_a_case_is_read_with_bare_root_lines(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.b.log").write_text("")
    (tmp_path / "cases.jsonl").write_text(json.dumps(LINE))
    [read] = read_cases(tmp_path)
    assert read.roots == ("NameError: x",)
    assert read.restarts == {False}
    assert read.blame == {"n3"}


@pytest.mark.parametrize("text", ["", "[]", '{"name": "a"}', json.dumps(LINE)])
def test_a_bad_case_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "cases.jsonl").write_text(f"{text}\n")
    with pytest.raises(BadCaseError, match=r"cases\.jsonl:1: "):
        read_cases(tmp_path)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"category": "code"}'])
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(BadCaseError, match="not an answer"):
        read_answer(text)


def test_the_answers_of_a_file_are_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        json.dumps({"name": one.name, "category": one.categories[0]} | _action(one))
        for one in read_cases()
    ]
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(lines))
    assert main(["--answers", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["action_accuracy"], found["category_accuracy"]) == (1.0, 1.0)
    assert found["wrongly_blamed_nodes"] == found["lost_runs"] == found["futile_restarts"] == 0


def _action(one: Case) -> dict[str, bool]:
    return {"recoverable": RECOVERABLE[one.categories[0]]}
