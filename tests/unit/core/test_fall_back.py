"""Which checkpoints are left out because attempts fail from them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.category import Category
from slurm_restart.core.fall_back import (
    MAX_BACK,
    AttemptOutcome,
    CheckpointVersion,
    fall_back,
    note_repeated,
    speaks_against_checkpoint,
)


def outcome(path: str | None, *, mark: int = 1, **changes: Any) -> AttemptOutcome:
    """An attempt from that checkpoint that failed for an unknown cause, without progress."""
    version = None if path is None else CheckpointVersion(path=path, mark=(mark, 1))
    values: dict[str, Any] = {
        "attempt": 0,
        "checkpoint": version,
        "step": 100,
        "progress": False,
        "category": Category.UNKNOWN,
        "rule": "exit.nonzero",
        "exit_code": 1,
    }
    return AttemptOutcome(**values | changes)


def advanced(path: str | None) -> AttemptOutcome:
    return outcome(path, progress=True)


PREEMPTED = {"category": Category.PREEMPTION}


@pytest.mark.parametrize(
    ("outcomes", "left_out", "can_go_back"),
    [
        ([], [], True),
        ([outcome(None)], [], True),
        ([advanced(None), outcome("c")], ["c"], True),
        ([outcome("c"), outcome("b")], ["c", "b"], False),
        # A third one shows that the checkpoints are not the cause: from the newest again.
        ([outcome("c"), outcome("b"), outcome("a")], [], False),
        ([outcome("c"), outcome("b"), outcome("a"), outcome("c")], [], False),
        # So does an attempt from the beginning.
        ([outcome("c"), outcome(None)], [], False),
        # Progress sets the count back, and what was left out stays so.
        ([outcome("c"), advanced("b"), outcome("d")], ["c", "d"], True),
        ([outcome("c"), outcome("b"), advanced("a"), outcome("d")], ["c", "b", "d"], True),
        ([outcome("c"), outcome("b"), outcome("a"), advanced("c"), outcome("d")], ["d"], True),
        # Nodes, people and what is not known are no evidence.
        ([outcome("c", **PREEMPTED)], [], True),
        ([outcome("c"), outcome("b", **PREEMPTED)], ["c"], True),
        ([outcome("c", category=Category.HARDWARE_NODE)], [], True),
        ([outcome("c", category=Category.TIMEOUT)], [], True),
        ([outcome("c", category=None)], [], True),
        ([outcome("c", rule="supervisor.terminated")], [], True),
        ([outcome("c", exit_code=137)], [], True),
        # srun --kill-on-bad-exit ends the other ranks by a signal after the error of one.
        ([outcome("c", exit_code=143, rule="python.lookup")], ["c"], True),
        ([outcome("c", exit_code=137, rule="slurm.task_killed")], [], True),
        ([outcome("c", exit_code=137, rule="slurm.task_exited")], ["c"], True),
        ([outcome("c", exit_code=1, rule="signal.kill")], [], True),
        ([outcome("c", exit_code=None)], ["c"], True),
        ([outcome("c", category=Category.CODE)], ["c"], True),
    ],
)
def test_what_is_left_out(
    outcomes: list[AttemptOutcome], left_out: list[str], can_go_back: bool
) -> None:
    found = fall_back(outcomes)
    assert [entry.checkpoint.path for entry in found.left_out] == left_out
    assert found.can_go_back is can_go_back


def killed(path: str | None, **changes: Any) -> AttemptOutcome:
    return outcome(path, **{"rule": "slurm.task_killed", "exit_code": 137} | changes)


@pytest.mark.parametrize(
    ("outcomes", "max_restarts", "left_out"),
    [
        ([killed("c")] * 2, 5, []),
        ([killed("c")] * 3, 5, ["c"]),
        # The last attempt that is left starts elsewhere.
        ([killed("c")] * 2, 2, ["c"]),
        ([killed("c")], 1, ["c"]),
        ([killed("c")], 0, []),
        # The kernel's KILL is that of a launcher, or of the shell, too.
        ([killed("c", rule="signal.kill", exit_code=1)] * 3, 5, ["c"]),
        ([killed("c", rule="exit.nonzero")] * 3, 5, ["c"]),
        ([killed("c", exit_code=143)] * 3, 5, ["c"]),
        # Of a rank that dies its peers say that they have lost it, or they wait for it.
        ([killed("c", category=Category.NETWORK_FABRIC, rule="nccl.peer_closed")] * 3, 5, ["c"]),
        ([killed("c", category=Category.HANG, rule="supervisor.hung")] * 3, 5, ["c"]),
        ([outcome("c", category=Category.HARDWARE_NODE)] * 3, 5, []),
        ([killed("c", rule="exit.nonzero", exit_code=143)] * 2, 5, []),
        ([killed("c", rule="exit.nonzero", exit_code=143)] * 3, 5, ["c"]),
        ([killed("c", rule="supervisor.terminated")] * 3, 5, []),
        # In a row, and from the same.
        ([killed("c"), killed("b"), killed("c"), killed("c")], 5, []),
        ([killed("c"), killed("c"), killed("c", progress=True), killed("c")], 5, []),
        ([killed("c"), killed("c"), outcome("c", **PREEMPTED), killed("c")], 5, []),
        ([killed(None)] * 4, 5, []),
        # Then the same holds for the one before.
        ([*[killed("c")] * 3, *[killed("b")] * 3], 9, ["c", "b"]),
    ],
)
def test_what_is_killed_again_and_again_may_be_its_checkpoints_fault(
    outcomes: list[AttemptOutcome], max_restarts: int, left_out: list[str]
) -> None:
    found = fall_back(note_repeated(outcomes, max_restarts=max_restarts))
    assert [entry.checkpoint.path for entry in found.left_out] == left_out


def test_a_checkpoint_that_was_written_anew_is_another_one() -> None:
    found = fall_back([outcome("c", mark=1)])
    assert found.excludes(CheckpointVersion(path="c", mark=(1, 1)))
    assert not found.excludes(CheckpointVersion(path="c", mark=(2, 1)))
    assert not found.excludes(CheckpointVersion(path="d", mark=(1, 1)))


def test_the_reason_says_which_attempt_failed_and_how() -> None:
    [entry] = fall_back([outcome("c", attempt=4, step=70, category=Category.CODE)]).left_out
    assert entry.reason == (
        "attempt 4 started from it and failed without getting beyond step 70 (code)"
    )


@given(
    st.lists(
        st.builds(
            outcome,
            st.sampled_from([None, "a", "b", "c"]),
            progress=st.booleans(),
            category=st.sampled_from([None, *Category]),
            exit_code=st.sampled_from([None, 1, 137]),
        ),
        max_size=12,
    )
)
def test_at_most_two_in_a_row(outcomes: list[AttemptOutcome]) -> None:
    before = gone_back = 0
    for count in range(len(outcomes) + 1):
        found = fall_back(outcomes[:count])
        if count and outcomes[count - 1].progress:
            gone_back = 0
        gone_back += len(found.left_out) > before
        before = len(found.left_out)
        assert gone_back <= MAX_BACK


# By hand: what depends on the content of a checkpoint.
EVIDENCE = {
    Category.CONFIG,
    Category.CODE,
    Category.SOFTWARE_CRASH,
    Category.DATA_CORRUPT,
    Category.NUMERIC_NAN,
    Category.OOM_HOST,
    Category.CHECKPOINT_CORRUPT,
    Category.UNKNOWN,
}


@pytest.mark.parametrize("category", Category)
def test_which_causes_speak_against_a_checkpoint(category: Category) -> None:
    assert speaks_against_checkpoint(category, "x", 1) is (category in EVIDENCE)
    assert not speaks_against_checkpoint(category, "exit.nonzero", 143)
