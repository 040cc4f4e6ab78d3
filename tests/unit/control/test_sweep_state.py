"""What a sweep does about the state directory: its birth, old journals, problems found again."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.control.controller import Controller
from slurm_restart.control.prune import DAY
from slurm_restart.control.reconcile import sweep
from slurm_restart.control.site import Site
from slurm_restart.errors import StateError
from tests.unit.control.test_sweep_hole import Slurm


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(slurm=Slurm(7, 8), site=Site(state_dir=tmp_path), cluster="c")  # type: ignore[arg-type]


def ended(controller: Controller, seconds: float) -> None:
    """Let job 7 have ended so many seconds from now."""
    first, second = controller.slurm.jobs()
    at = int(time.time() + seconds)
    controller.slurm.all = (replace(first, end_time=at), second)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("seconds", "judged"), [(-3600, 1), (3600, 2)])
def test_an_end_before_the_birth_is_left_alone(
    controller: Controller, seconds: float, judged: int
) -> None:
    ended(controller, seconds)
    assert sweep(controller).missed == judged


def test_an_old_journal_is_removed(controller: Controller) -> None:
    sweep(controller)
    folder = controller.site.state_dir / "journal" / "c"
    old = folder / f"9-1000-{9:016x}.jsonl"
    old.touch()
    for path in folder.iterdir():
        os.utime(path, (time.time() - 91 * DAY,) * 2)
    (controller.site.state_dir / "pruned").unlink()
    assert sweep(controller).removed == 1
    assert sorted(path.name[0] for path in folder.iterdir()) == ["7", "8"]


def test_a_bad_comment_record_is_logged_once(controller: Controller) -> None:
    first, second = controller.slurm.jobs()
    bad = replace(first, comment="csx-restart/1 run=x")
    controller.slurm.all = (bad, second)  # type: ignore[attr-defined]
    for _ in range(9):
        assert sweep(controller).problems == 1
    log = (controller.site.state_dir / "csx-epilog.log").read_text()
    assert log.count("job 7: sweep: CommentRecordError") == 1


def test_a_state_directory_that_cannot_be_used_ends_the_sweep(controller: Controller) -> None:
    (controller.site.state_dir / "created").mkdir()
    with pytest.raises(StateError, match="created"):
        sweep(controller)
