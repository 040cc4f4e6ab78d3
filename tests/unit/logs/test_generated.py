"""Real failing programs, run by tests/data/generate.py: each end is judged right."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.classify import EndFacts, Termination, classify
from slurm_restart.core.digest import Digest
from slurm_restart.core.job import JobEnd, JobState
from slurm_restart.core.log_verdict import LogVerdict, classify_log
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import LogScanner
from tests.data.generate import CASES as MADE
from tests.data.generator.case import RECOVERABLE

DATA = Path(__file__).parents[2] / "data"
CASES: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "cases.jsonl").read_text().splitlines()
]
RULES = load_rules(site=None)
NODES = tuple(f"csx{number}" for number in range(1, 25))
LABEL = re.compile(r"^(?:\d+: |\[(?:rank|default)?\d+\]: ?)+")


def log(case: dict[str, Any]) -> bytes:
    return (DATA / "logs" / f"{case['name']}.log").read_bytes()


@dataclass(frozen=True)
class Judged:
    """What the supervisor makes of the log, and what the hook makes of that and Slurm's facts."""

    word: LogVerdict
    termination: Termination

    @property
    def root(self) -> str | None:
        return None if self.word.root_cause is None else bare(self.word.root_cause.text)

    @property
    def blamed(self) -> list[str]:
        return sorted(blame.node for blame in self.termination.blamed)


def judge(case: dict[str, Any], *, state: str | None = None) -> Judged:
    scanner = LogScanner(RULES)
    scanner.feed(log(case))
    code, signal = map(int, case["exit_code"].split(":"))
    state = state or case["state"]
    # The record of a job that Slurm has ended says 0 at times: its trainer has not ended so.
    lost = (code, signal) == (0, 0) and state != "COMPLETED"
    word = classify_log(scanner.findings(), exit_code=1 if lost else code, signal=signal)
    digest = Digest(
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
    facts = EndFacts(end=end, word=digest, known_restarts=0)
    return Judged(word, classify(facts, word.nodes))


def bare(line: str) -> str:
    """A line without the rank in front and without doubled spaces."""
    return " ".join(LABEL.sub("", line.strip()).split())


def name(case: dict[str, Any]) -> str:
    return case["name"]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_real_failure_is_judged_right(case: dict[str, Any]) -> None:
    judged = judge(case)
    expected = (case["category"], *case["also"])
    assert judged.termination.category.value in expected
    assert judged.termination.recoverable in {RECOVERABLE.get(one, True) for one in expected}
    assert judged.blamed == case["blame"]
    if case["root_cause_line"] is not None:
        lines = (case["root_cause_line"], *case["also_root_cause_lines"])
        assert judged.root in [bare(line) for line in lines]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_whatever_a_log_says_of_failures_exit_0_is_completed(case: dict[str, Any]) -> None:
    judged = judge({**case, "exit_code": "0:0"}, state="COMPLETED")
    assert judged.termination.category is Category.COMPLETED
    assert judged.blamed == []


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
    assert len(CASES) >= 60
    missing = set(RECOVERABLE) - {case["category"] for case in CASES}
    assert missing <= {"hardware.accelerator", "memory.device_oom"}
