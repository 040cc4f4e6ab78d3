"""Hook, reconciler and the commands of administrators work with the packages of a controller."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest

from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import DEADLINE

TOP = Path(__file__).parents[2]
LEFT_OUT = ("h5py", "jinja2", "numpy")


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 1}


@pytest.fixture
def python(cluster: ManagedCluster) -> Iterator[Path]:
    """An interpreter with the packages of contrib/controller.txt alone; the hook starts it."""
    directory = cluster.directory / "controller"
    venv.create(directory, symlinks=True)
    [target] = directory.glob("lib/python*/site-packages")
    lines = (TOP / "contrib" / "controller.txt").read_text().splitlines()
    names = [line.partition(">=")[0] for line in lines if not line.startswith("#")]
    for name in (*names, "slurm_restart"):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            (target / top).symlink_to(found.locate_file(top))
    interpreter = directory / "bin" / "python"
    before = cluster.hook.read_text()
    cluster.hook.write_text(before.replace(sys.executable, str(interpreter)))
    yield interpreter
    cluster.hook.write_text(before)


def csx_restart(cluster: ManagedCluster, python: Path, *words: str) -> str:
    done = subprocess.run(
        [str(python), "-I", "-m", "slurm_restart.cli.restart", *words, "--site", str(cluster.site)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        cwd="/",
        env={"PATH": str(cluster.bin_dir), "SLURM_CONF": str(cluster.conf)},
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout


def test_a_run_is_restarted_and_explained(cluster: ManagedCluster, python: Path) -> None:
    for name in LEFT_OUT:
        code = f"import importlib.util as u; raise SystemExit(u.find_spec({name!r}) is not None)"
        subprocess.run([str(python), "-c", code], check=True)
    config = cluster.config(command="sh -c 'exit 3'", nodes=1, min_nodes=1, restarts=1)
    [job_id] = cluster.csx_sbatch(config)
    assert cluster.await_end(job_id) == "FAILED"
    assert [end["action"] for end in cluster.ends(job_id)] == ["requeue", "leave"]
    assert "ModuleNotFoundError" not in cluster.hook_log()
    if os.geteuid() == 0:
        assert json.loads(csx_restart(cluster, python, "reconcile", "--json"))
        doctor = json.loads(csx_restart(cluster, python, "doctor", "--json"))
        problems = [each for each in doctor if each["level"] == "problem"]
        assert not [each for each in problems if each["check"].startswith(("hook.", "site."))]
    for words in (("explain", str(job_id)), ("list", "--all"), ("nodes", "--all")):
        assert csx_restart(cluster, python, *words)
    assert "EpilogSlurmctld" in csx_restart(cluster, python, "install", "--print")
