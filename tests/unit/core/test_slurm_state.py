"""The one table of Slurm's states holds in the hook, in the supervisor's backfill and in classify.

The expected rows are written by hand.
"""

from typing import Any

import pytest

from slurm_restart.core.attribute_end import EndFacts, attribute_end
from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.slurm_state import STATE_BY_NAME, STATE_CAUSES, exit_cause
from slurm_restart.supervise.backfill import _derive_cause
from tests.unit.core import facts

ROWS = {
    "COMPLETED": ("slurm.completed", "completed", "certain"),
    "CANCELLED": ("slurm.cancelled", "cancelled", "certain"),
    "DEADLINE": ("slurm.deadline", "deadline", "certain"),
    "TIMEOUT": ("slurm.time_limit", "timeout", "certain"),
    "PREEMPTED": ("slurm.preempted", "preemption", "certain"),
    "NODE_FAIL": ("slurm.node_fail", "hardware.node", "certain"),
    "BOOT_FAIL": ("slurm.boot_fail", "hardware.node", "certain"),
    "OUT_OF_MEMORY": ("slurm.oom", "oom_host", "certain"),
    "REQUEUED": ("slurm.requeued", "requeued", "certain"),
    "REQUEUE_HOLD": ("slurm.requeue_hold", "held", "certain"),
    "RESV_DEL_HOLD": ("slurm.reservation", "reservation_ended", "certain"),
}
EXITS = {
    (1, 0): ("exit.nonzero", "unknown", "guess"),
    (125, 0): ("exit.nonzero", "unknown", "guess"),
    (126, 0): ("exit.not_run", "config", "likely"),
    (127, 0): ("exit.not_run", "config", "likely"),
    (128, 0): ("exit.nonzero", "unknown", "guess"),
    (0, 9): ("exit.nonzero", "unknown", "guess"),
    (137, 0): ("exit.nonzero", "unknown", "guess"),
    **{(0, number): ("signal.crash", "software.crash", "likely") for number in (4, 6, 7, 8, 11)},
    **{(128 + n, 0): ("signal.crash", "software.crash", "likely") for n in (4, 6, 7, 8, 11)},
}


def row(attribution: Any) -> tuple[str, str, str]:
    return attribution.rule, attribution.category.value, attribution.confidence.value


def hook(**end: Any) -> Attribution:
    """Attribute an end without a self-report, as the hook does."""
    return attribute_end(
        EndFacts(end=facts.end(**end), self_report=None, known_restarts=0), named=()
    )


def test_the_table_has_the_expected_rows_and_no_others() -> None:
    assert {state.value: row(cause) for state, cause in STATE_CAUSES.items()} == ROWS
    assert set(STATE_BY_NAME) == {state.value for kind in (JobState, JobFlag) for state in kind}


@pytest.mark.parametrize("name", ROWS)
def test_the_hook_uses_the_table(name: str) -> None:
    state = STATE_BY_NAME[name]
    clean = {"exit_code": 0, "signal": 0, "reason": "None"}
    if isinstance(state, JobState):
        found = hook(**clean, state=state)
    elif state is JobFlag.REQUEUED:
        # In the hook the job is pending again already.
        found = hook(**clean, state=JobState.PENDING)
    else:
        found = hook(**clean, flags=frozenset({state}))
    assert row(found) == ROWS[name]


@pytest.mark.parametrize("name", ROWS)
def test_classify_uses_the_table(name: str) -> None:
    found = attribute_log(ExitFacts(state=STATE_BY_NAME[name], exit_code=1), [])
    assert row(found) == ROWS[name]


@pytest.mark.parametrize("name", [name for name in ROWS if STATE_BY_NAME[name] in JobState])
def test_the_supervisor_uses_the_table(name: str) -> None:
    cause, _ = _derive_cause(facts.job(state=JobState(name), exit_code=1))
    assert row(cause) == ROWS[name]


@pytest.mark.parametrize(("code", "signal"), EXITS)
def test_all_three_attribute_an_exit_status_alike(code: int, signal: int) -> None:
    expected = EXITS[code, signal]
    failed = JobState.FAILED
    assert row(exit_cause(code, signal)) == expected
    assert row(hook(exit_code=code, signal=signal)) == expected
    assert row(hook(exit_code=code, signal=signal, state=failed)) == expected
    assert row(_derive_cause(facts.job(state=failed, exit_code=code, signal=signal))[0]) == expected
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
