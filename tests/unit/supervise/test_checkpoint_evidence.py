import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from slurm_restart.supervise.checkpoint_evidence import read_evidence
from slurm_restart.trainer.attempt_records import AttemptStart, Saved, to_json, to_line
from slurm_restart.trainer.run_plan import CheckpointLayout
from slurm_restart.trainer.rundir import RunDir

PLAN = SimpleNamespace(
    policy=None, checkpoint=CheckpointLayout(directory="/m", pattern=r"(?P<step>\d+)"), phase=0
)


def records(path: Path, *steps: int, first_step: int = 0) -> RunDir:
    """A run directory with one attempt that wrote checkpoints at these steps."""
    run = RunDir(path)
    attempt = run.new_attempt()
    start = AttemptStart(
        attempt=0,
        at=1.0,
        job_id=7,
        restarts=0,
        nodes=("n1",),
        num_csx=1,
        checkpoint=None,
        from_step=first_step,
        resumed=False,
        first_step=first_step,
        last_step=None,
    )
    attempt.start_file.write_bytes(to_json(start))
    lines = [to_line(Saved(at=2.0, step=step, path=f"/m/{step}")) for step in steps]
    attempt.progress_file.write_text("".join(f"{line}\n" for line in lines))
    return run


@pytest.mark.parametrize(
    ("steps", "first_step", "expected"),
    [((), 0, False), ((10,), 0, True), ((0,), 0, False), ((10,), 10, False), ((0, 10), 0, False)],
)
def test_only_a_checkpoint_that_holds_work_can_be_done_without(
    tmp_path: Path, steps: tuple[int, ...], first_step: int, expected: bool
) -> None:
    """From the one that is saved before the first step, an attempt starts as from scratch."""
    run = records(tmp_path, *steps, first_step=first_step)
    assert read_evidence(PLAN, run, run.attempts()).only_one is expected


def test_missing_records_are_no_evidence(tmp_path: Path) -> None:
    run = records(tmp_path, 10)
    run.attempts()[0].start_file.write_text(json.dumps({"attempt": 0}))
    assert read_evidence(PLAN, run, run.attempts()).fall_back.left_out == ()
