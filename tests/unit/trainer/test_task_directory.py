from dataclasses import replace

import pytest

from slurm_restart.core.array_task import run_of_task
from slurm_restart.errors import RecordError, StateError
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.task_directory import make_task_directory

from .test_run_plan import PLAN


@pytest.fixture
def array(tmp_path):
    directory = RunDir(tmp_path / "runs")
    directory.path.mkdir()
    (directory.path / "job.sh").write_text("#!/bin/sh\n")
    replace(PLAN, array="1-9").save(directory.plan)
    return directory


def test_each_task_has_its_own_directory_and_run_id(array):
    tasks = [make_task_directory(array, number) for number in (1, 7)]
    assert [task.path for task in tasks] == [array.path / "tasks" / name for name in ("1", "7")]
    for number, task in zip((1, 7), tasks, strict=True):
        assert (task.path / "job.sh").read_text() == "#!/bin/sh\n"
        assert (task.path / "job.sh").stat().st_mode & 0o777 == 0o755
        found = RunPlan.load(task.plan)
        assert found == replace(PLAN, array="1-9", array_task=number)
        assert found.run_id == run_of_task(PLAN.run, number)
    assert PLAN.run_id == PLAN.run


def test_the_paths_of_a_task_have_its_number(array):
    layout = replace(
        PLAN.checkpoint,
        directory="/w/t%a",
        pattern=r"m%a\-(?P<step>\d+)\.pt",
        written="m%a-{step}.pt",
        complete="{path}.%a.done",
        saved="wrote m%a (?P<path>.*)",
    )
    progress = replace(PLAN.progress, file="/w/grows-%a")
    plan = replace(PLAN, array="1-9", checkpoint=layout, progress=progress)
    plan.save(array.plan)
    found = RunPlan.load(make_task_directory(array, 12).plan)
    assert found.checkpoint == replace(
        layout,
        directory="/w/t12",
        pattern=r"m12\-(?P<step>\d+)\.pt",
        written="m12-{step}.pt",
        complete="{path}.12.done",
        saved="wrote m12 (?P<path>.*)",
    )
    assert found.progress.file == "/w/grows-12"


def test_a_restart_finds_the_directory_of_its_task(array):
    task = make_task_directory(array, 3)
    (array.path / "job.sh").unlink()
    (task.path / "job.sh").write_text("#!/bin/sh\n# as it was\n")
    assert make_task_directory(array, 3) == task
    assert "as it was" in (task.path / "job.sh").read_text()


def test_a_directory_that_was_half_made_is_made_anew(array):
    half = array.task(3)
    half.path.mkdir(parents=True)
    (half.path / "job.sh").write_text("#!")
    make_task_directory(array, 3)
    assert (half.path / "job.sh").read_text() == "#!/bin/sh\n"


def test_what_cannot_be_read_is_an_error(array):
    (array.path / "job.sh").unlink()
    with pytest.raises(FileNotFoundError):
        make_task_directory(array, 3)
    assert not array.task(3).plan.exists()
    array.plan.write_text("{}")
    with pytest.raises(RecordError):
        make_task_directory(array, 4)
    array.plan.unlink()
    with pytest.raises(StateError):
        make_task_directory(array, 4)
