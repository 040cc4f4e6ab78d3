"""A checkpoint that is well-formed and ends every program that starts from it."""

import pytest

from contrib.testing.managed_cluster import ManagedCluster

# Writes steps 10, 20 and 30 and fails; later attempts go on, unless what they start from is bad.
# It takes the newest file by itself.
JOB = """\
#!/bin/bash
#SBATCH --ntasks=1
mkdir -p ckpt
name=$(ls ckpt | grep 'dat$' | tail -n 1)
echo "${{name:-none}}" >> starts
case " {bad} " in *" ${{name:-none}} "*) echo "{error}" >&2; exit 1;; esac
if [ -z "$name" ]; then
    for step in 10 20 30; do echo "$step" > new && mv new "ckpt/step-$step.dat"; done
    exit 9
fi
echo 40 > new && mv new ckpt/step-40.dat
"""
MISSING = "ModuleNotFoundError: No module named 'nosuchmodule'"


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 1}


def submit(cluster: ManagedCluster, *bad: int, restarts: int, error: str = "cannot go on") -> int:
    names = " ".join(f"step-{step}.dat" for step in bad)
    (cluster.work / "job.sh").write_text(JOB.format(bad=names, error=error))
    options = (f"--max-restarts={restarts}", "--checkpoint=ckpt/step-{step}.dat")
    return int(cluster.run("csx-sbatch", "--parsable", *options, "job.sh"))


def starts(cluster: ManagedCluster) -> list[str]:
    return (cluster.work / "starts").read_text().split()


@pytest.mark.parametrize("error", ["cannot go on", MISSING])
def test_it_is_survived_by_the_one_before_whatever_the_cause(
    cluster: ManagedCluster, error: str
) -> None:
    job_id = submit(cluster, 30, restarts=1, error=error)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert starts(cluster) == ["none", "step-30.dat", "step-20.dat"]
    ends = cluster.ends(job_id)
    assert [end["failures"] for end in ends] == [0, 1, 0]
    # The attempt before has run with the same program: a mistake in it is doubted once.
    assert ends[1]["category"] == "unknown"
    assert ends[1]["fall_back"] is True
    explained = cluster.run("csx-restart", "explain", str(job_id))
    assert "restart 1/1 without progress, an earlier checkpoint before step 30 is next" in explained
    shown = cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
    assert "restart 1/1 without progress, from an earlier checkpoint than step 30" in shown
    log = (cluster.run_dir(cluster.work / "csx-restart") / "run.log").read_text()
    assert "step-30.dat is not used: attempt 1 started from it and failed" in log
    assert (cluster.work / "ckpt/step-30.dat.unusable").exists()


def test_two_that_end_the_program_by_a_mistake_are_survived(cluster: ManagedCluster) -> None:
    job_id = submit(cluster, 20, 30, restarts=2, error=MISSING)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert starts(cluster) == ["none", "step-30.dat", "step-20.dat", "step-10.dat"]
    assert [end["category"] for end in cluster.ends(job_id)[1:3]] == ["unknown", "code"]


def test_it_goes_back_twice_at_most_and_counts_each_time(cluster: ManagedCluster) -> None:
    job_id = submit(cluster, 10, 20, 30, restarts=3)
    assert cluster.await_end(job_id) == "FAILED"
    assert starts(cluster) == ["none", *(f"step-{n}.dat" for n in (30, 20, 10, 30))]
    ends = cluster.ends(job_id)
    assert [end["failures"] for end in ends] == [0, 1, 2, 3, 4]
    assert [end.get("fall_back", False) for end in ends] == [False, True, True, False, False]


BOTH = """\
#!/bin/bash
#SBATCH --ntasks=1
#CSX --max-restarts=1 --checkpoint=ckpt/step-{step}.npz
mkdir -p ckpt
name=$(readlink ckpt/latest)
echo "${name:-none}" >> starts
save() {
    echo "$1" > data && python3 -m zipfile -c new data && mv new "ckpt/step-$1.npz"
    ln -sfn "step-$1.npz" ckpt/latest
}
case $name in
    "") save 10; save 20; save 30; truncate -s 40 ckpt/step-30.npz; exit 9;;
    step-20.npz) kill -SEGV $$;;
esac
save 40
"""


def test_a_truncated_one_and_one_that_kills_its_program_are_both_survived(
    cluster: ManagedCluster,
) -> None:
    """The program follows its link. Every checkpoint is on disk."""
    (cluster.work / "job.sh").write_text(BOTH)
    job_id = int(cluster.run("csx-sbatch", "--parsable", "job.sh"))
    assert cluster.await_end(job_id) == "COMPLETED"
    assert starts(cluster) == ["none", "step-20.npz", "step-10.npz"]
    assert [end["failures"] for end in cluster.ends(job_id)] == [0, 1, 0]
    left = sorted(path.name for path in (cluster.work / "ckpt").iterdir())
    whole = ["latest", "step-10.npz", "step-40.npz"]
    assert left == sorted([*whole, "step-20.npz.unusable", "step-30.npz.unusable"])
    assert (cluster.work / "ckpt/step-30.npz.unusable").stat().st_size == 40
    log = (cluster.run_dir(cluster.work / "csx-restart") / "run.log").read_text()
    assert "step-30.npz is not used: " in log
    assert "step-20.npz is not used: attempt 1 started from it and failed" in log
    assert "latest points to step-30.npz, which is not used: it points to step-20.npz now" in log


DIRECTORIES = """\
#!/bin/bash
#SBATCH --ntasks=1
#CSX --max-restarts=1 --checkpoint=ckpt/step-{step}
name=${CSX_RESTART_CHECKPOINT##*/}
mkdir -p ckpt
echo "${name:-none}" >> starts
save() {
    # Into place by rename, which a directory that is not empty refuses.
    mkdir new && echo "$1" > data && python3 -m zipfile -c new/data.npz data || exit
    mv -T new "ckpt/$2" || exit
}
case $name in
    "") for n in 10 20 30; do save $n step-$n; done; truncate -s 40 ckpt/step-30/data.npz; exit 9;;
    step-20) kill -SEGV $$;;
esac
for n in 20 30 40; do save new step-$n; done
"""


def test_a_directory_that_is_passed_over_makes_room_for_its_step(cluster: ManagedCluster) -> None:
    (cluster.work / "job.sh").write_text(DIRECTORIES)
    job_id = int(cluster.run("csx-sbatch", "--parsable", "job.sh"))
    assert cluster.await_end(job_id) == "COMPLETED"
    assert starts(cluster) == ["none", "step-20", "step-10"]
    assert [end["failures"] for end in cluster.ends(job_id)] == [0, 1, 0]
    left = sorted(path.name for path in (cluster.work / "ckpt").iterdir())
    whole = [f"step-{step}" for step in (10, 20, 30, 40)]
    assert left == sorted([*whole, "step-20.unusable", "step-30.unusable"])
    log = (cluster.run_dir(cluster.work / "csx-restart") / "run.log").read_text()
    assert "beyond step 20 (software.crash); set aside as step-20.unusable" in log
