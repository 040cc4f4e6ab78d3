"""How far an attempt is known to have got, for the judgement of its log."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from slurm_restart.core.program_start import MIN_STEPS, KnownProgress
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.supervise.attempt_progress import AttemptProgress
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.prepare_attempt import prepare

from .conftest import DEADLINE


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
    plan = SimpleNamespace(checkpoint=SimpleNamespace(is_remote=False))
    progress = AttemptProgress(
        None, plan, prepared, recorder=None, comment=None, log=None, stalls=None
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


class Calls:
    """Keeps the arguments of calls to any of its methods."""

    def __init__(self):
        self.made = []

    def __getattr__(self, name):
        return lambda *args, **values: self.made.append((name, *args, *values.values()))


def test_a_checkpoint_that_the_output_names_is_progress_as_a_file_is(run):
    """And so it is for what waits for a checkpoint: drained nodes, a stop, a slow run."""
    root = "s3://bucket/run"
    run.set(checkpoint=replace(run.plan.checkpoint, directory=root))
    job = JobEnvironment(job_id=7, restarts=0, nodes=("csx1",), num_nodes=1)
    prepared = prepare(run.plan, run.dir, run.dir.new_attempt(), job, clock=lambda: 5.0)
    recorder, comment, watch, stalls = Calls(), Calls(), Calls(), Calls()
    progress = AttemptProgress(
        run.dir,
        run.plan,
        prepared,
        recorder=recorder,
        comment=comment,
        log=SimpleNamespace(write=lambda _: None),
        stalls=stalls,
        watches=[watch],
    )
    assert progress.is_from_output
    progress.saved.feed(f"Saved checkpoint {root}/checkpoint_40.mdl\n".encode())
    progress.saved.feed(f"Saved checkpoint {root}/checkpoint_100.mdl\n".encode())
    monitor = progress.monitor(None)
    monitor.start()
    assert monitor.finish(DEADLINE)
    # The first progress is told at once.
    assert comment.made == [("flush", 0, 40), ("update", 100)]
    assert [saved.path.rpartition("_")[2] for _, _, saved in recorder.made] == ["40.mdl", "100.mdl"]
    assert watch.made == [("saved", "checkpoint checkpoint_40.mdl", True)]  # 100 is the last step
    assert (progress.step, progress.shown, progress.is_done) == (100, 100, True)
    assert progress.advances == 2
    assert progress.known(1.0).made
    assert stalls.made == []  # nothing was read
