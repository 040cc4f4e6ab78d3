"""The console scripts with a PYTHONPATH of a module system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import slurm_restart

SCRIPTS = Path(sys.executable).parent
CONFIG = """\
trainer:
  init:
    backend: {backend_type: CPU}
    model_dir: out
  fit: {}
"""


def run(*command: str, cwd: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Run a console script with a PYTHONPATH."""
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        [SCRIPTS / command[0], *command[1:]],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def other_modules(tmp_path: Path) -> Path:
    """A directory whose yaml and click are of another Python."""
    directory = tmp_path / "modules"
    directory.mkdir()
    for name in ("yaml", "click"):
        (directory / f"{name}.py").write_text(f"raise SystemError('the other {name}')\n")
    return directory


@pytest.mark.parametrize("command", [("csx-restart", "rules", "list"), ("csx-sbatch", "--print")])
@pytest.mark.parametrize("form", ["{path}", "{path}:", ":{path}/../modules", "modules"])
def test_modules_of_another_python_are_ignored(
    other_modules: Path, tmp_path: Path, command: tuple[str, ...], form: str
) -> None:
    (tmp_path / "trainer.yaml").write_text(CONFIG)
    words = (*command, "trainer.yaml") if command[0] == "csx-sbatch" else command
    done = run(*words, cwd=tmp_path, path=form.format(path=other_modules))
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "the other" not in done.stderr


def test_a_package_that_only_python_path_finds_is_found(tmp_path: Path) -> None:
    # As with Spack and module files: the package and what it needs are in PYTHONPATH alone.
    paths = {str(Path(slurm_restart.__file__).parents[1]), *filter(None, sys.path)}
    code = "import sys; sys.argv[0] = 'csx-restart'; from slurm_restart.cli.console import "
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"{code}csx_restart; csx_restart()", "--version"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
