"""Build the command that runs this Python and this package in any job environment."""

import subprocess
import sys
from pathlib import Path

import slurm_restart

_PROBE = "import slurm_restart; print(slurm_restart.__file__)"
_PROBE_TIMEOUT = 30.0
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from slurm_restart.cli.restart import main; main()"
)


def supervisor_command(run_dir: str, *, array: bool = False) -> tuple[str, ...]:
    """Return the command that supervises the run in a directory (absolute path).

    With `array` it supervises one task of a job array, whose run directory this is.

    `-I` ignores PYTHONPATH, PYTHONHOME, the current directory and the user's site-packages. A
    package that is found only through these is given by its path.
    """
    run = ("run", "--run-dir", run_dir, *(("--array",) if array else ()))
    if _is_installed():
        return (sys.executable, "-I", "-m", "slurm_restart.cli.restart", *run)
    return (sys.executable, "-I", "-c", _BOOTSTRAP, str(_package().parent), *run)


def _package() -> Path:
    return Path(slurm_restart.__file__).resolve().parent


def _is_installed() -> bool:
    """Return whether an isolated interpreter imports the package that is running now."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", _PROBE],
        capture_output=True,
        text=True,
        timeout=_PROBE_TIMEOUT,
        check=False,
    )
    found = done.stdout.strip()
    return done.returncode == 0 and Path(found).resolve().parent == _package()
