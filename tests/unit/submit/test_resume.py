"""A run that has ended is submitted anew, all or nothing, and never beside a job that goes on."""

import os
from dataclasses import replace

import pytest

from slurm_restart.cli.resume import Resumption, _locked
from slurm_restart.control.site import Site
from slurm_restart.core.job import JobState
from slurm_restart.core.job_comment import format_comment, parse_comment
from slurm_restart.errors import (
    NoJobIdError,
    SlurmError,
    SlurmUnavailableError,
    StateError,
    UsageError,
)

from .conftest import TWO_PHASES
from .test_submit import FakeSlurm, comment_of, submit


class Queue(FakeSlurm):
    """Jobs with states."""

    states: dict[int, JobState]

    def __init__(self, fail=None):
        super().__init__(fail)
        self.states = {}

    def jobs(self, *, uid=None):
        found = super().jobs(uid=uid)
        return tuple(
            replace(job, state=self.states.get(job.job_id, job.state), submit_time=job.job_id)
            for job in found
        )

    def nodes(self):
        return ()

    def cancel(self, job):
        super().cancel(int(job))


@pytest.fixture
def ended(submission, monkeypatch):
    """The queue and the run directories of a run of two phases, of which the first has failed."""
    monkeypatch.chdir(os.getcwd())  # noqa: PTH109 - resume changes the directory
    slurm = Queue()
    dirs = [item.run_dir for item in submit(submission(config=TWO_PHASES), slurm)]
    slurm.states = {100: JobState.FAILED, 101: JobState.CANCELLED}
    return slurm, dirs


def resume(slurm, run_dir, tmp_path, *, reset=False, clear=False):
    site = Site(state_dir=tmp_path / "state")
    return Resumption(slurm, site, run_dir).submit(reset_count=reset, clear_nodes=clear)


def test_all_phases_are_submitted_in_their_order(ended, tmp_path):
    slurm, dirs = ended
    entries = resume(slurm, dirs[0], tmp_path)
    assert [entry.job for entry in entries] == ["102", "103"]
    assert [entry.run_dir for entry in entries] == [str(path) for path in dirs]
    assert not any(word.startswith("--dependency") for word in slurm.queue[102])
    assert "--dependency=afterok:102" in slurm.queue[103]
    assert "--dependency=afterok:100" not in slurm.queue[103]
    for job_id, former in ((102, 100), (103, 101)):
        assert parse_comment(comment_of(slurm.queue[job_id])) == parse_comment(
            comment_of(slurm.queue[former])
        )


def test_settings_that_were_changed_are_kept(ended, tmp_path):
    slurm, dirs = ended
    record = replace(parse_comment(comment_of(slurm.queue[100])), max_restarts=9)
    slurm.queue[100] = (f"--comment={format_comment(record)}",)
    resume(slurm, dirs[0], tmp_path, clear=True)
    new = parse_comment(comment_of(slurm.queue[102]))
    assert new.max_restarts == 9
    assert new.cleared is not None


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED])
def test_a_run_that_goes_on_is_refused(ended, tmp_path, state):
    slurm, dirs = ended
    slurm.states[100] = state
    with pytest.raises(UsageError, match=f"job 100 of this run is {state.value}"):
        resume(slurm, dirs[0], tmp_path)
    assert len(slurm.queue) == 2


def test_a_second_one_is_refused(ended, tmp_path):
    slurm, dirs = ended
    resume(slurm, dirs[0], tmp_path)
    with pytest.raises(UsageError, match="job 102 of this run is PENDING"):
        resume(slurm, dirs[0], tmp_path)
    with _locked(dirs[0]), pytest.raises(StateError, match="another csx-restart resume"):
        _locked(dirs[0]).__enter__()


def test_a_later_phase_waits_for_the_one_before(ended, tmp_path):
    slurm, dirs = ended
    with pytest.raises(UsageError, match="has not completed: resume that one"):
        resume(slurm, dirs[1], tmp_path)
    slurm.states[100] = JobState.RUNNING
    [entry] = resume(slurm, dirs[1], tmp_path)
    assert entry.after == "100"


def test_a_refused_phase_leaves_nothing_in_the_queue(ended, tmp_path):
    slurm, dirs = ended
    slurm.fail = {4: SlurmError("refused")}
    with pytest.raises(SlurmError, match="refused"):
        resume(slurm, dirs[0], tmp_path)
    assert slurm.cancelled == [102]


def test_a_job_of_which_sbatch_prints_no_id_is_found_beside_the_former_ones(ended, tmp_path):
    slurm, dirs = ended
    slurm.fail, slurm.lost = {3: NoJobIdError("no id")}, True
    entries = resume(slurm, dirs[0], tmp_path)
    assert [entry.job for entry in entries] == ["102", "103"]
    assert "--dependency=afterok:102" in slurm.queue[103]


def test_a_job_that_may_be_in_the_queue_is_told(ended, tmp_path):
    slurm, dirs = ended
    slurm.fail = {3: NoJobIdError("no id")}
    with pytest.raises(SlurmUnavailableError, match="may be in the queue nevertheless"):
        resume(slurm, dirs[0], tmp_path)


def test_a_run_without_a_record_of_its_submission_is_told(ended, tmp_path):
    slurm, dirs = ended
    (dirs[0] / "submission.json").unlink()
    with pytest.raises(StateError, match="submitted by an earlier release"):
        resume(slurm, dirs[0], tmp_path)
