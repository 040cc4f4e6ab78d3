"""Run modules in short-lived processes: the supervisor stays small, and a hang has a deadline."""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import slurm_restart
from slurm_restart.errors import SlurmError, SlurmUnavailableError
from slurm_restart.slurm.process import Completed, run

# `-I` leaves out PYTHONPATH and the working directory, so the package's directory is passed.
ROOT = str(Path(slurm_restart.__file__).parents[1])
"""The directory that holds the package."""
_CODE = """
import sys
sys.path.append(sys.argv.pop(1))
from slurm_restart.supervise.processes import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
from {module} import main
main()
"""


def module_command(module: str, args: Sequence[str] = ()) -> list[str]:
    """Return the command that runs `main()` of a module; it dies with the calling thread."""
    code = _CODE.format(module=module)
    return [sys.executable, "-I", "-c", code, ROOT, str(os.getpid()), *args]


def run_module(
    module: str, args: Sequence[str] = (), *, timeout: float, text: str | None = None
) -> Completed:
    """Run `main()` of a module of this package in an isolated interpreter.

    Args:
        module: its full name.
        args: its command line.
        timeout: in seconds.
        text: its standard input.

    Raises:
        TimeoutError: it did not end in time; usually a file system hangs.
        OSError: it could not be started.
    """
    try:
        return run(module_command(module, args), timeout=timeout, input=text)
    except SlurmUnavailableError:
        what = module.rpartition(".")[2]
        raise TimeoutError(f"{what}: no answer within {timeout:g} s: {' '.join(args)}") from None
    except SlurmError as error:
        # `slurm.process.run` raises SlurmError for any failure; this is a failure of the node.
        raise OSError(errno.EAGAIN, str(error)) from error
