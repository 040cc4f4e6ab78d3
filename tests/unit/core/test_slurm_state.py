"""The one table of Slurm's states holds in the hook and in classify.

tests/unit/supervise/test_backfill.py holds the supervisor to it.
"""

from typing import Any

import pytest

from slurm_restart.core.attribute_end import attribute_end
from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.end_facts import EndFacts
from slurm_restart.core.end_rules import end_rules
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.slurm_state import STATE_BY_NAME, STATE_CAUSES, exit_cause
from slurm_restart.logs.rules import load_rules
from tests.unit.core import facts
from tests.unit.core.expected_causes import EXIT_ROWS, STATE_ROWS


def row(attribution: Any) -> tuple[str, str, str]:
    return attribution.rule, attribution.category.value, attribution.confidence.value


def hook(**end: Any) -> Attribution:
    """Attribute an end without a self-report, as the hook does."""
    return attribute_end(EndFacts(end=facts.end(**end), self_report=None, known_restarts=0))


def test_the_table_has_the_expected_rows_and_no_others() -> None:
    assert {state.value: row(cause) for state, cause in STATE_CAUSES.items()} == STATE_ROWS
    assert set(STATE_BY_NAME) == {state.value for kind in (JobState, JobFlag) for state in kind}


@pytest.mark.parametrize("name", STATE_ROWS)
def test_the_hook_uses_the_table(name: str) -> None:
    state = STATE_BY_NAME[name]
    clean = {"exit_code": 0, "signal": 0, "reason": "None", "run_time": 3600}
    if isinstance(state, JobState):
        found = hook(**clean, state=state, preempted=state is JobState.PREEMPTED)
    elif state is JobFlag.REQUEUED:
        # In the hook the job is pending again already.
        found = hook(**clean, state=JobState.PENDING)
    else:
        found = hook(**clean, flags=frozenset({state}))
    assert row(found) == STATE_ROWS[name]


@pytest.mark.parametrize("name", STATE_ROWS)
def test_classify_uses_the_table(name: str) -> None:
    found = attribute_log(ExitFacts(state=STATE_BY_NAME[name], exit_code=1), [])
    assert row(found) == STATE_ROWS[name]


@pytest.mark.parametrize(("code", "signal"), EXIT_ROWS)
def test_hook_and_classify_attribute_an_exit_status_alike(code: int, signal: int) -> None:
    expected = EXIT_ROWS[code, signal]
    failed = JobState.FAILED
    assert row(exit_cause(code, signal)) == expected
    assert row(hook(exit_code=code, signal=signal)) == expected
    assert row(hook(exit_code=code, signal=signal, state=failed)) == expected
    log_facts = ExitFacts(state=failed, exit_code=code, signal=signal)
    assert row(attribute_log(log_facts, [])) == expected
    assert row(attribute_log(ExitFacts(exit_code=code, signal=signal), [])) == expected


def test_a_clean_or_unknown_exit_status_gives_no_cause() -> None:
    assert exit_cause(0, 0) is None
    assert exit_cause(None, 0) is None


def test_a_signal_is_no_exit_status_of_a_shell() -> None:
    assert row(exit_cause(127, 9)) == ("exit.nonzero", "unknown", "guess")


def test_a_reported_cause_stands_above_exit_127() -> None:
    def reported(cause: Category) -> Attribution:
        report = facts.comment_record(cause=cause, exit=127)
        return attribute_end(
            EndFacts(end=facts.end(exit_code=127), self_report=report, known_restarts=0)
        )

    assert reported(Category.STORAGE_IO).category is Category.STORAGE_IO
    assert row(reported(Category.UNKNOWN)) == ("exit.nonzero", "unknown", "guess")


def test_no_rule_over_log_lines_has_the_id_of_a_state_or_of_a_rule_over_ends() -> None:
    ends = {rule for rule, _, _ in end_rules()} | {cause.rule for cause in STATE_CAUSES.values()}
    ends |= {rule for rule, _, _ in EXIT_ROWS.values()}
    logs = {rule.id for rule in load_rules(site=None)}
    assert logs
    assert logs & ends == set()
    # Prefixes of the rules that judge an end by anything but a log line.
    reserved = ("state.", "exit.", "job.", "supervisor.", "log.", "nothing.")
    assert [rule for rule in sorted(logs) if rule.startswith(reserved)] == []
