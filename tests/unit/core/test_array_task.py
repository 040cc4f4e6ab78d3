"""Each task of an array is a run of its own, by an id that submission and number alone give."""

from slurm_restart.core.array_task import run_of_task
from tests.unit.core.facts import RUN


def test_a_job_that_is_no_task_keeps_the_run_id_of_its_submission() -> None:
    assert run_of_task(RUN, None) == RUN


def test_the_id_of_a_task_never_changes() -> None:
    """Journals on disk are named by it."""
    assert run_of_task(RUN, 0) == "410870f7406d072f"
    assert run_of_task(RUN, 10) == "69acc655053425db"


def test_tasks_and_submissions_have_different_ids() -> None:
    ids = {run_of_task(run, task) for run in (RUN, "f" * 16) for task in (None, *range(100))}
    assert len(ids) == 202
