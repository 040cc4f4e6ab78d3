"""Real failing programs, run by tests/data/generate.py: each end is judged right."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.core.attribute_end import attribute_end
from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.end_facts import EndFacts
from slurm_restart.core.finding import Finding
from slurm_restart.core.job import JobEnd, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.slurm_state import STATE_BY_NAME
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import LogScanner, make_matcher
from tests.data.generate import CASES as MADE
from tests.data.generator.case import RECOVERABLE

DATA = Path(__file__).parents[2] / "data"
CASES: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "cases.jsonl").read_text().splitlines()
]
MATCHER = make_matcher(load_rules(site=None))
NODES = tuple(f"csx{number}" for number in range(1, 25))
LABEL = re.compile(r"^(?:\d+: |\[(?:rank|default)?\d+\]: ?)+")


def log(case: dict[str, Any]) -> bytes:
    return (DATA / "logs" / f"{case['name']}.log").read_bytes()


def findings(case: dict[str, Any]) -> tuple[Finding, ...]:
    scanner = LogScanner(MATCHER)
    scanner.feed(log(case))
    return scanner.findings()


def judge(case: dict[str, Any], *, state: str | None = None) -> Attribution:
    """What `csx-restart classify` says."""
    code, signal = map(int, case["exit_code"].split(":"))
    shown = STATE_BY_NAME[state or case["state"]]
    facts = ExitFacts(state=shown, exit_code=code, signal=signal, nodes=NODES)
    return attribute_log(facts, findings(case))


def decide_on(case: dict[str, Any]) -> Attribution:
    """What the hook makes of Slurm's facts and of the supervisor's word."""
    code, signal = map(int, case["exit_code"].split(":"))
    state = case["state"]
    # The record of a job that Slurm has ended says 0 at times: its trainer has not ended so.
    lost = (code, signal) == (0, 0) and state != "COMPLETED"
    word = attribute_log(ExitFacts(exit_code=1 if lost else code, signal=signal), findings(case))
    comment_record = CommentRecord(
        run="0123456789abcdef",
        max_restarts=3,
        num_nodes=2,
        min_nodes=1,
        ended=True,
        cause=word.category,
        rule=word.rule,
    )
    end = JobEnd(
        cluster="test",
        job_id=1,
        uid=1000,
        submit_time=1,
        exit_code=code,
        signal=signal,
        reason="None",
        state=JobState.PENDING if state == "REQUEUED" else JobState(state),
        nodes=NODES,
    )
    return attribute_end(
        EndFacts(end=end, self_report=comment_record, known_restarts=0, named=word.names)
    )


def bare(line: str) -> str:
    """A line without the rank in front and without doubled spaces."""
    return " ".join(LABEL.sub("", line.strip()).split())


WRONG = {
    "ranks.silent_exit": "the rank that torchrun saw end is not compared with who complains",
    "ranks.two_attempts": "torchrun does not say at its default level that it starts anew",
    "fortran.error_stop": "Fortran's buffered output, progress too, comes after its last words",
    "mpi.abort_told": "the buffered output of the rank, progress too, comes after its last words",
    "noise.python_cleanup": "the traceback does not show that the script went on",
    "octave.file": "the same words as of a missing function",
    "settings.empty_json": "the message does not tell a settings file from a record",
    "settings.ini_header": "the exception's message is on lines of its own",
}
"""What is judged wrong, and why."""


def known_wrong(cases: list[dict[str, Any]]) -> list[Any]:
    return [
        pytest.param(
            case, id=case["name"], marks=pytest.mark.xfail(strict=True, reason=WRONG[case["name"]])
        )
        if case["name"] in WRONG
        else pytest.param(case, id=case["name"])
        for case in cases
    ]


def name(case: dict[str, Any]) -> str:
    return case["name"]


@pytest.mark.parametrize("case", known_wrong(CASES))
def test_a_real_failure_is_judged_right(case: dict[str, Any]) -> None:
    judged = judge(case)
    expected = (case["category"], *case["also"])
    assert judged.category.value in expected
    assert judged.recoverable in {RECOVERABLE.get(one, True) for one in expected}
    assert sorted(blame.node for blame in judged.blamed) == case["blame"]
    if case["root_cause_line"] is not None:
        lines = (case["root_cause_line"], *case["also_root_cause_lines"])
        assert judged.root_cause is not None
        assert bare(judged.root_cause.text) in [bare(line) for line in lines]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_hook_attributes_the_same_case_alike(case: dict[str, Any]) -> None:
    judged = decide_on(case)
    wrong = ["unknown", judge(case).category.value] if case["name"] in WRONG else []
    expected = (case["category"], *case["also"], *wrong)
    assert judged.recoverable in {RECOVERABLE.get(one, True) for one in expected}
    assert sorted(blame.node for blame in judged.blamed) == case["blame"]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_exit_0_is_completed_whatever_the_log_contains(case: dict[str, Any]) -> None:
    judged = judge({**case, "exit_code": "0:0"}, state="COMPLETED")
    assert judged.category is Category.COMPLETED
    assert judged.blamed == ()


def test_there_is_a_log_for_every_line_and_a_program_for_every_log() -> None:
    names = [case["name"] for case in CASES]
    assert names == sorted(set(names))
    assert {f"{one}.log" for one in names} == {path.name for path in (DATA / "logs").iterdir()}
    assert set(names) <= {case.name for case in MADE}


def test_the_lines_are_those_of_the_programs() -> None:
    programs = {case.name: case for case in MADE}
    for case in CASES:
        program, text = programs[case["name"]], log(case).decode()
        assert case["category"] == program.category
        assert case["recoverable"] == RECOVERABLE[program.category]
        assert case["blame"] == list(program.blame)
        assert case["root_cause_line"] == program.root_line(text)
        assert case["also_root_cause_lines"] == program.other_root_lines(text)


def test_there_are_many_of_them_and_of_all_that_can_be_made_without_an_accelerator() -> None:
    assert len(CASES) >= 300
    missing = set(RECOVERABLE) - {case["category"] for case in CASES}
    assert missing <= {"hardware.accelerator", "memory.device_oom"}
