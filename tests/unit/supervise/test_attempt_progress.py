"""How far an attempt is known to have got, for the judgement of its log."""

from types import SimpleNamespace

import pytest

from slurm_restart.core.program_start import MIN_STEPS, KnownProgress
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.supervise.attempt_progress import AttemptProgress


def known(*, reached=0, printed=None, unit=ProgressUnit.STEP, from_step=100, beyond=None):
    start = SimpleNamespace(
        checkpoint="c",
        measured=unit is not ProgressUnit.STEP,
        from_step=from_step,
        beyond=beyond,
        to_exceed=from_step if beyond is None else beyond,
        unit=unit,
    )
    prepared = SimpleNamespace(start=start)
    progress = AttemptProgress(
        None, None, prepared, recorder=None, comment=None, log=None, stalls=None
    )
    progress.step = reached
    if printed is not None:
        progress._steps = SimpleNamespace(highest=lambda: printed)
    return progress.known(7.0)


@pytest.mark.parametrize(
    ("facts", "made"),
    [
        ({"reached": 100}, False),
        ({"reached": 101}, True),
        ({"reached": 150, "beyond": 150}, False),
        ({"reached": 0, "from_step": None}, False),
        # The time for which an attempt has lasted is no progress.
        ({"reached": 900, "unit": ProgressUnit.SECOND}, False),
        ({"reached": 900, "unit": ProgressUnit.BYTE}, True),
        ({"reached": 100, "printed": 99 + MIN_STEPS}, False),
        ({"reached": 100, "printed": 100 + MIN_STEPS}, True),
        ({"reached": 0, "from_step": None, "printed": MIN_STEPS}, True),
    ],
)
def test_checkpoints_and_printed_steps_are_progress(facts, made):
    assert known(**facts) == KnownProgress(made=made, seconds=7.0)
