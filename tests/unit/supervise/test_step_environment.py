"""What the steps of an attempt are told of its nodes, where the job has further ones."""

import subprocess
from dataclasses import replace

import pytest

from slurm_restart.supervise.job_environment import JobEnvironment, format_left_out
from slurm_restart.supervise.reaper import IN_PLACE, IN_PLACE_NODES
from slurm_restart.supervise.step_environment import step_environment
from slurm_restart.trainer.rundir import AttemptDir

JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "csx[1-5]",
    "SLURM_JOB_NUM_NODES": "5",
    "SLURM_TASKS_PER_NODE": "2(x3),1(x2)",
    "SLURM_JOB_CPUS_PER_NODE": "4(x5)",
}


@pytest.fixture
def attempt(tmp_path):
    """The directory of an attempt."""
    return AttemptDir(tmp_path, 0)


def in_place(nodes, spares=""):
    """The job's environment after a restart in place."""
    return JobEnvironment.read({**JOB, IN_PLACE: "1", IN_PLACE_NODES: f"{nodes} {spares}"})


def test_an_attempt_on_all_nodes_is_told_nothing(attempt):
    assert step_environment(JobEnvironment.read(JOB), attempt, "/usr/bin", JOB) == {}


def test_the_other_nodes_are_not_told_of(attempt):
    variables = step_environment(in_place("csx[1,3-5]"), attempt, "/opt/slurm/bin", JOB)
    assert variables.pop("PATH").startswith(f"{attempt.path}/bin:")
    hostlist = "csx1,csx3,csx4,csx5"
    assert variables == {
        "SLURM_JOB_NODELIST": hostlist,
        "SLURM_NODELIST": hostlist,
        "SLURM_JOB_NUM_NODES": "4",
        "SLURM_NNODES": "4",
        "SLURM_TASKS_PER_NODE": "2(x2),1(x2)",
        "SLURM_JOB_CPUS_PER_NODE": "4(x4)",
    }


def test_steps_overlap_one_that_slurm_never_ends(attempt):
    job = replace(in_place("csx[1,3-5]"), step_left=True)
    assert step_environment(job, attempt, "/usr/bin", JOB)["SLURM_OVERLAP"] == "1"


def test_srun_excludes_the_other_nodes(attempt, tmp_path):
    real = tmp_path / "slurm bin"
    real.mkdir()
    (real / "srun").write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    (real / "srun").chmod(0o755)
    path = f"{real}:/usr/bin:/bin"
    job = JobEnvironment.read(JOB).using(3)
    variables = step_environment(job, attempt, "/usr/bin", {**JOB, "PATH": path})
    done = subprocess.run(
        ["/bin/sh", "-c", "srun -n 3 'a b'"],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "--exclude=csx4,csx5|-n|3|a b|"


@pytest.mark.parametrize(
    ("nodes", "spares", "expected"),
    [
        ("csx[1-3]", "csx5", (("csx1", "csx2", "csx3"), ("csx5",), 3)),
        # A name that is none of the job's is left out.
        ("csx[1-2,9]", "", (("csx1", "csx2"), (), 2)),
        ("", "", (("csx1", "csx2", "csx3", "csx4", "csx5"), (), 5)),
        ("csx[", "csx[", (("csx1", "csx2", "csx3", "csx4", "csx5"), (), 5)),
    ],
)
def test_what_the_supervisor_before_has_chosen(nodes, spares, expected):
    job = in_place(nodes, spares)
    assert (job.nodes, job.spares, job.num_nodes) == expected
    # Without a restart in place the variables are not this plugin's.
    variables = {**JOB, IN_PLACE_NODES: f"{nodes} {spares}"}
    assert JobEnvironment.read(variables).nodes == job.held


def test_the_first_attempt_leaves_the_last_nodes_as_spares():
    job = JobEnvironment.read(JOB).using(4)
    assert (job.nodes, job.spares, job.num_nodes) == (job.held[:4], ("csx5",), 4)
    assert job.unused == ("csx5",)
    assert JobEnvironment.read(JOB).using(9) == JobEnvironment.read(JOB)


def test_the_record_names_what_is_left_out():
    assert format_left_out(("csx1", "csx2", "csx3"), ("csx1",), ("csx3",)) == "csx2"
    assert format_left_out(("csx1", "csx2"), ("csx1",), ("csx2",)) is None
    assert format_left_out([f"{n:030}" for n in range(8)], (), ()) is None
