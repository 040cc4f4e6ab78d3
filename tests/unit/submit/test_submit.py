import json
import os
from dataclasses import replace

import pytest

from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import parse_comment
from slurm_restart.errors import NoJobIdError, SlurmError, SlurmUnavailableError, StateError
from slurm_restart.submit import format_plan
from slurm_restart.submit import submit as submission_module
from slurm_restart.trainer.run_plan import RunPlan

from .conftest import CONFIG, NOW, TWO_PHASES


class FakeSlurm:
    """The part of Slurm that a submission needs, with a queue of its own.

    `fail` maps the number of a call of sbatch (from 1) to what happens in it.
    """

    def __init__(self, fail=None, *, lost=False):
        self.fail = fail or {}
        self.lost = lost
        """What fails has been queued all the same."""
        self.calls = 0
        self.queue: dict[int, tuple[str, ...]] = {}
        self.cancelled: list[int] = []
        self.tests: list[tuple[str, ...]] = []
        self.deaf = False

    def submit(self, script, options, *, test_only=False):
        text = open(script, "rb").read()  # noqa: SIM115, PTH123
        assert text.startswith(b"#!/bin/bash\n")
        self.calls += 1
        if (error := self.fail.get(self.calls)) is not None:
            if self.lost:
                self._queue(options)
            raise error
        if test_only:
            self.tests.append(tuple(options))
            return "sbatch: Job 1 to start at …\n"
        return self._queue(options)

    def _queue(self, options):
        job_id = 100 + len(self.queue)
        self.queue[job_id] = tuple(options)
        return str(job_id)

    def jobs(self, *, uid=None):
        assert uid == os.getuid()
        if self.deaf:
            raise SlurmUnavailableError("squeue: no answer")
        return tuple(
            Job(job_id=job_id, uid=uid, state=JobState.PENDING, comment=comment_of(options))
            for job_id, options in self.queue.items()
        )

    def cancel(self, job_id):
        if self.deaf:
            raise SlurmUnavailableError("scancel: no answer")
        self.cancelled.append(job_id)


def comment_of(options):
    return next((o[10:] for o in options if o.startswith("--comment=")), "")


def submit(submission, slurm):
    reported = []
    done = submission_module.submit(submission, slurm, now=lambda: NOW, report=reported.append)
    assert reported == done
    return done


def test_each_phase_has_its_run_directory(submission, tmp_path):
    planned = submission(config=TWO_PHASES)
    slurm = FakeSlurm()
    first, second = submit(planned, slurm)
    assert [item.job_id for item in (first, second)] == ["100", "101"]
    assert first.run_dir == tmp_path / "out" / "20261125_023000_restartable"
    assert second.run_dir == tmp_path / "out" / "20261125_023001_restartable"
    assert "--dependency=afterok:100" in slurm.queue[101]
    for item in (first, second):
        names = sorted(path.name for path in item.run_dir.iterdir())
        assert names == ["job.sh", "params.yaml", "plan.json", "run.log", "submission.json"]
        plan = RunPlan.load(item.run_dir / "plan.json")
        assert plan == item.job.plan
        assert parse_comment(comment_of(slurm.queue[int(item.job_id)])) == plan.comment_record
        script = (item.run_dir / "job.sh").read_text()
        assert f"run --run-dir {item.run_dir}\n" in script
        assert os.access(item.run_dir / "job.sh", os.X_OK)
        assert (item.run_dir / "params.yaml").read_text() == item.job.params
    run = first.job.plan.run
    assert (first.run_dir / "run.log").read_text() == (
        "[main] 2026-11-25 02:30:00,123 INFO:   Submitted batch job 100, phase 1 of 2, 1 nodes, "
        f"run {run}\n"
    )


def test_rules_of_the_run_are_kept_as_they_were_submitted(submission, tmp_path):
    for name in ("b.yaml", "a.yml"):
        (tmp_path / name).write_text("rules: []\n")
    [done] = submit(submission(config="slurm: {rules: [b.yaml, a.yml]}\n" + CONFIG), FakeSlurm())
    kept = sorted((done.run_dir / "rules").iterdir())
    assert [path.name for path in kept] == ["00-b.yaml", "01-a.yaml"]
    assert kept[0].read_text() == "rules: []\n"


@pytest.mark.parametrize("error", [SlurmError("sbatch: no"), KeyboardInterrupt(), OSError("x")])
def test_half_a_submission_is_taken_back(submission, tmp_path, error):
    planned = submission(config=TWO_PHASES)
    slurm = FakeSlurm({2: error})
    with pytest.raises(type(error)) as caught:
        submit(planned, slurm)
    if isinstance(error, SlurmError):
        assert str(caught.value) == "phase 2: sbatch: no"
    assert 100 in slurm.cancelled
    assert [path.name for path in tmp_path.iterdir()] == ["trainer.yaml"]


def test_what_cannot_be_cancelled_is_named_and_keeps_its_directory(submission, tmp_path):
    slurm = FakeSlurm({2: SlurmError("sbatch: no")})

    def deaf(_):
        raise SlurmError("scancel: no answer")

    slurm.cancel = deaf
    with pytest.raises(SlurmError, match="still in the queue: scancel 100"):
        submit(submission(config=TWO_PHASES), slurm)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["20261125_023000_restartable"]


def test_a_job_whose_submission_got_no_answer_is_found_again(submission):
    slurm = FakeSlurm({1: SlurmUnavailableError("sbatch: timed out")}, lost=True)
    first, second = submit(submission(config=TWO_PHASES), slurm)
    assert [first.job_id, second.job_id] == ["100", "101"]
    assert "--dependency=afterok:100" in slurm.queue[101]


@pytest.mark.parametrize("call", [1, 2])
def test_a_job_of_which_sbatch_prints_no_id_is_found_by_its_run(submission, call):
    slurm = FakeSlurm({call: NoJobIdError("sbatch: expected a job id, got ''")}, lost=True)
    first, second = submit(submission(config=TWO_PHASES), slurm)
    assert [first.job_id, second.job_id] == ["100", "101"]
    assert (first.run_dir / "submission.json").exists()
    assert slurm.cancelled == []


def test_of_an_array_the_id_is_that_of_the_array(submission):
    slurm = FakeSlurm({1: NoJobIdError("no id")}, lost=True)
    jobs = slurm.jobs
    slurm.jobs = lambda **uid: tuple(
        replace(job, job_id=205, array_job_id=200, array_task_id=4) for job in jobs(**uid)
    )
    (done,) = submit(submission(), slurm)
    assert done.job_id == "200"


def test_nothing_is_removed_of_a_job_that_sbatch_took_and_the_queue_does_not_show(
    submission, tmp_path
):
    slurm = FakeSlurm({1: NoJobIdError("sbatch: expected a job id, got ''")})
    with pytest.raises(SlurmUnavailableError) as caught:
        submit(submission(), slurm)
    (run_dir,) = (tmp_path / "out").iterdir()
    assert str(caught.value) == (
        "sbatch: expected a job id, got ''\n"
        "the job may be in the queue nevertheless, and nothing of it was removed: look for "
        f"{run_dir}/job.sh in the output of squeue --me -o '%A %o'; if it is there, it will run as "
        f"submitted; if it is not, remove {run_dir}"
    )
    assert (run_dir / "plan.json").exists()


def test_a_later_phase_that_is_unknown_is_to_be_cancelled(submission, tmp_path):
    slurm = FakeSlurm({2: NoJobIdError("no id")})
    with pytest.raises(SlurmUnavailableError, match=r"phase 2: no id\n.*cancel it with scancel"):
        submit(submission(config=TWO_PHASES), slurm)
    assert slurm.cancelled == [100]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["20261125_023001_restartable"]


def test_a_later_phase_without_an_answer_is_found_by_its_phase(submission):
    slurm = FakeSlurm({2: SlurmUnavailableError("sbatch: timed out")}, lost=True)
    first, second = submit(submission(config=TWO_PHASES), slurm)
    assert [first.job_id, second.job_id] == ["100", "101"]


def test_the_last_phase_is_cancelled_first(submission):
    slurm = FakeSlurm({3: SlurmError("sbatch: no")})
    with pytest.raises(SlurmError, match="phase 3: sbatch: no"):
        submit(submission(config=TWO_PHASES + "- trainer: *phase\n"), slurm)
    assert slurm.cancelled == [101, 100]


def test_a_job_that_is_not_in_the_queue_leaves_nothing(submission, tmp_path):
    slurm = FakeSlurm({1: SlurmUnavailableError("sbatch: timed out")})
    with pytest.raises(SlurmUnavailableError, match="sbatch: timed out"):
        submit(submission(), slurm)
    assert [path.name for path in tmp_path.iterdir()] == ["trainer.yaml"]


def test_the_directory_stays_if_the_submission_is_unknown(submission, tmp_path):
    slurm = FakeSlurm({1: SlurmUnavailableError("sbatch: timed out")})
    slurm.deaf = True
    with pytest.raises(SlurmUnavailableError, match="may be in the queue nevertheless"):
        submit(submission(), slurm)
    (run_dir,) = (tmp_path / "out").iterdir()
    assert (run_dir / "plan.json").exists()


def test_an_interrupted_submission_is_cancelled_though_its_number_was_not_heard(submission):
    slurm = FakeSlurm({1: KeyboardInterrupt()}, lost=True)
    with pytest.raises(KeyboardInterrupt):
        submit(submission(), slurm)
    assert slurm.cancelled == [100]


def test_a_directory_that_cannot_be_written(submission, tmp_path, monkeypatch):
    planned = submission()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(submission_module, "write_atomic", full)
    slurm = FakeSlurm()
    with pytest.raises(StateError, match="No space left on device"):
        submit(planned, slurm)
    assert slurm.calls == 0
    assert [path.name for path in tmp_path.iterdir()] == ["trainer.yaml"]


def test_a_test_creates_nothing(submission, tmp_path):
    slurm = FakeSlurm()
    answers = submission_module.test_phases(submission(config=TWO_PHASES), slurm)
    assert answers == ["sbatch: Job 1 to start at …"] * 2
    assert [text for text in slurm.tests[1] if "phase=1" in text]
    assert not [text for text in slurm.tests[1] if text.startswith("--dependency")]
    assert [path.name for path in tmp_path.iterdir()] == ["trainer.yaml"]
    with pytest.raises(SlurmError, match="phase 2: sbatch: bad"):
        submission_module.test_phases(
            submission(config=TWO_PHASES), FakeSlurm({2: SlurmError("sbatch: bad")})
        )


def test_a_job_that_would_only_wait_is_submitted(submission):
    waits = SlurmError("allocation failure: Requested node configuration is not available")
    assert submission_module.check_phases(submission(), FakeSlurm()) == []
    (wait,) = submission_module.check_phases(submission(), FakeSlurm({1: waits}))
    assert wait.startswith("cannot start with today's nodes: allocation failure")
    for error in (SlurmError("Invalid partition"), SlurmUnavailableError("no answer")):
        with pytest.raises(type(error)):
            submission_module.check_phases(submission(), FakeSlurm({1: error}))


def test_reports(submission):
    planned = submission(config=TWO_PHASES)
    text = format_plan.plan_text(planned)
    assert text.count("#!/bin/bash") == 2
    assert "afterok:<job id of the phase before>" in text
    data = json.loads(format_plan.plan_json(planned))
    assert [phase["plan"]["phase"] for phase in data["phases"]] == [0, 1]
    assert data["phases"][0]["plan"]["mode"] == "fit"
    assert data["phases"][1]["sbatch"][-1].startswith("--dependency=afterok:")
    assert json.loads(format_plan.test_json(planned, ["a", "b"]))["phases"][1]["answer"] == "b"
    done = submit(planned, FakeSlurm())
    data = json.loads(format_plan.result_json(planned, done))
    assert [phase["job_id"] for phase in data["phases"]] == ["100", "101"]
    assert data["run"] == done[0].job.plan.run


def test_the_config_is_kept_as_it_was_given(submission):
    (item,) = submit(submission(config="# a comment\n" + CONFIG), FakeSlurm())
    assert (item.run_dir / "params.yaml").read_text() == "# a comment\n" + CONFIG
