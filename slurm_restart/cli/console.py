"""The console scripts: the commands without what a user's PYTHONPATH would put in their place.

Modules of HPC sites put directories into PYTHONPATH, with another yaml or click for another Python.
The variable itself stays: the batch scripts that are submitted and the trainers get it.
"""

import os
import sys
from pathlib import Path


def csx_sbatch() -> None:
    """Run csx-sbatch and exit."""
    _ignore_python_path()
    from slurm_restart.cli.sbatch import main  # noqa: PLC0415 - imports what PYTHONPATH may hide

    main()


def csx_restart() -> None:
    """Run csx-restart and exit."""
    _ignore_python_path()
    from slurm_restart.cli.restart import main  # noqa: PLC0415 - the same

    main()


def _ignore_python_path() -> None:
    """Take the directories of PYTHONPATH off sys.path, unless this package is found by one."""
    variable = os.environ.get("PYTHONPATH")
    if not variable:
        return
    given = {_absolute(name) for name in variable.split(os.pathsep)}
    if str(Path(__file__).parents[2]) not in given:
        sys.path[:] = [name for name in sys.path if _absolute(name) not in given]


def _absolute(name: str) -> str:
    # As Python itself does: symlinks stay, and an empty name is the current directory.
    return os.path.abspath(name)  # noqa: PTH100
