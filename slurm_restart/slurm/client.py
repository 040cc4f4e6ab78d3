"""How Slurm's commands are called: their environment, a deadline, and another try."""

import os
import time

from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.error_messages import error_for, failed, is_transient
from slurm_restart.slurm.process import Call, Completed, run_all

# Nothing else of the caller's reaches a command: SQUEUE_* and SINFO_* change what is printed.
_PASSED_ON = ("SLURM_CONF", "SLURM_JWT", "LD_LIBRARY_PATH", "TZ")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0


class CommandClient:
    """Calls Slurm's commands.

    Args:
        bin_dir: the directory of the commands; None: they are looked up in PATH.
        slurm_conf: path of slurm.conf; None: as the environment or Slurm's default has it.
        timeout: seconds that one request may take, with all its tries.
    """

    def __init__(self, bin_dir: str | None, slurm_conf: str | None, timeout: float) -> None:
        self._bin_dir = bin_dir
        self._slurm_conf = slurm_conf
        self.timeout = timeout

    def program(self, name: str) -> str:
        """The path of a command, or its name where PATH is to be searched."""
        return name if self._bin_dir is None else f"{self._bin_dir}/{name}"

    def environment(self) -> dict[str, str]:
        """The whole environment of a command; it prints times as epoch seconds."""
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env |= {
            "LC_ALL": "C",
            "SLURM_TIME_FORMAT": "%s",
            "PATH": os.environ.get("PATH", os.defpath),
        }
        return env | self.configuration()

    def configuration(self) -> dict[str, str]:
        """What tells a command which cluster is meant."""
        return {} if self._slurm_conf is None else {"SLURM_CONF": self._slurm_conf}

    def call(self, name: str, *arguments: str, **env: str) -> Call:
        """A command with its arguments, and what is added to its environment."""
        return Call([self.program(name), *arguments], self.environment() | env)

    def ask(self, what: str, *calls: Call) -> tuple[Completed, ...]:
        """Run commands side by side; all of them again where one met a passing trouble.

        Args:
            what: what is asked, for the message: `requeue job 7`.
            calls: the commands; all can be repeated without harm.

        Raises:
            SlurmError: one of them failed; of the class that its message means.
        """
        deadline = time.monotonic() + self.timeout
        pause, bad = _FIRST_PAUSE, None
        while True:
            try:
                answers = run_all(calls, timeout=deadline - time.monotonic())
            except SlurmUnavailableError:
                if bad is None:
                    raise
                raise error_for(bad, what) from None  # its own reason, not that time ran out
            bad = next(filter(failed, answers), None)
            if bad is None:
                return answers
            if not is_transient(bad) or time.monotonic() + pause >= deadline:
                raise error_for(bad, what)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
