"""The one table from Slurm's account of an end to a cause, for the hook, supervisor and CLI.

Consumers: `core/attribute_end` (hook and reconciler), `supervise/backfill` (the supervisor and
`csx-restart status`) and `core/attribute_log` (`csx-restart classify`).
"""

from dataclasses import dataclass

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.job import CRASH_SIGNALS, JobFlag, JobState

NOT_RUN = frozenset({126, 127})
"""Exit codes of a shell that found no such command, or could not run it (POSIX, 2.8.2)."""


@dataclass(frozen=True)
class Cause:
    """A cause with the rule that gives it."""

    rule: str
    category: Category
    confidence: Confidence


_CATEGORIES: dict[JobState | JobFlag, Category] = {
    JobFlag.REQUEUE_HOLD: Category.HELD,
    JobFlag.RESV_DEL_HOLD: Category.RESERVATION_ENDED,
    JobFlag.REQUEUED: Category.REQUEUED,
    JobState.DEADLINE: Category.DEADLINE,
    JobState.PREEMPTED: Category.PREEMPTION,
    JobState.NODE_FAIL: Category.HARDWARE_NODE,
    JobState.BOOT_FAIL: Category.HARDWARE_NODE,
    JobState.TIMEOUT: Category.TIMEOUT,
    JobState.CANCELLED: Category.CANCELLED,
    JobState.OUT_OF_MEMORY: Category.OOM_HOST,
    JobState.COMPLETED: Category.COMPLETED,
}

STATE_CAUSES: dict[JobState | JobFlag, Cause] = {
    state: Cause(f"state.{state.value.lower()}", category, Confidence.CERTAIN)
    for state, category in _CATEGORIES.items()
}
"""The cause of an end by its base state or state flag. FAILED has none: the exit status decides.

A PENDING job has none either: only the flag shows that Slurm or a person requeued it.
"""

STATE_BY_NAME: dict[str, JobState | JobFlag] = {
    state.value: state for kind in (JobState, JobFlag) for state in kind
}
"""Base states and state flags by the name that Slurm prints."""

_ENDING_FLAGS = frozenset(
    {
        JobFlag.LAUNCH_FAILED,
        JobFlag.RECONFIG_FAIL,
        JobFlag.REQUEUED,
        JobFlag.REQUEUE_FED,
        JobFlag.REQUEUE_HOLD,
        JobFlag.RESV_DEL_HOLD,
        JobFlag.REVOKED,
        JobFlag.SPECIAL_EXIT,
    }
)
"""Flags that show that an attempt has ended; the others are set while it runs or waits."""


def is_end(state: JobState | JobFlag) -> bool:
    """Return whether a job in this state, or an attempt of it, has ended."""
    return state.is_final if isinstance(state, JobState) else state in _ENDING_FLAGS


CRASH = Cause("exit.crash", Category.SOFTWARE_CRASH, Confidence.LIKELY)
COMMAND_NOT_RUN = Cause("exit.not_run", Category.CONFIG, Confidence.LIKELY)
NONZERO = Cause("exit.nonzero", Category.UNKNOWN, Confidence.GUESS)


def exit_cause(exit_code: int | None, signal: int) -> Cause | None:
    """Return the cause that an exit status alone gives; None for 0:0 or an unknown status.

    Args:
        exit_code: the exit code; 128 + N counts as signal N; None: not known.
        signal: the signal that ended the program, or 0.
    """
    code = exit_code or 0
    if signal in CRASH_SIGNALS or code - 128 in CRASH_SIGNALS:
        return CRASH
    if code in NOT_RUN and not signal:
        return COMMAND_NOT_RUN
    return NONZERO if code or signal else None
