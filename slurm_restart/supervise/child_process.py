"""Short-lived processes for what would cost the supervisor memory, or hang with a file system."""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import slurm_restart
from slurm_restart.errors import SlurmError, SlurmUnavailableError
from slurm_restart.slurm.process import Completed, run

# Found again wherever the package is: `-I` looks only where the interpreter's own packages are.
_ROOT = str(Path(slurm_restart.__file__).parents[1])
_CODE = """
import sys
sys.path.append(sys.argv.pop(1))
from slurm_restart.supervise.processes import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
from {module} import main
main()
"""


def run_module(
    module: str, args: Sequence[str] = (), *, timeout: float, text: str | None = None
) -> Completed:
    """Run `main()` of a module of this package in an isolated interpreter.

    Args:
        module: its full name.
        args: its command line.
        timeout: seconds.
        text: its input.

    Raises:
        TimeoutError: it did not answer, which is most often a file system that hangs.
        OSError: it could not be started.
    """
    code = _CODE.format(module=module)
    command = [sys.executable, "-I", "-c", code, _ROOT, str(os.getpid()), *args]
    try:
        return run(command, timeout=timeout, input=text)
    except SlurmUnavailableError:
        what = module.rpartition(".")[2]
        raise TimeoutError(f"{what}: no answer within {timeout:g} s: {' '.join(args)}") from None
    except SlurmError as error:
        # The door to other programs knows them as Slurm's; what fails here is this node.
        raise OSError(errno.EAGAIN, str(error)) from error
