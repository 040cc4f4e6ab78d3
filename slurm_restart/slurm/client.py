"""Run Slurm's commands with a fixed environment, a deadline, and repeated tries."""

import os
import time

from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.error_messages import (
    error_for,
    failed,
    is_transient,
    missing_configuration,
    waits_for_database,
)
from slurm_restart.slurm.process import Call, Completed, run_all

# The only variables that a command inherits: SQUEUE_* and SINFO_* would change its output.
_INHERITED = ("SLURM_CONF", "SLURM_JWT", "LD_LIBRARY_PATH", "TZ")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
DATABASE_TIMEOUT = 3.0
"""Seconds of repeated tries while slurmctld waits for the job's record in accounting."""


class CommandClient:
    """Runs Slurm's commands.

    Args:
        bin_dir: the directory of the commands; None: they are looked up in PATH.
        slurm_conf: path of slurm.conf; None: the environment's, else Slurm's default.
        timeout: seconds that one request may take, with all its tries.
    """

    def __init__(self, bin_dir: str | None, slurm_conf: str | None, timeout: float) -> None:
        self._bin_dir = bin_dir
        self._slurm_conf = slurm_conf
        self.timeout = timeout

    def program(self, name: str) -> str:
        """Return the path of a command, or its name if PATH is to be searched."""
        return name if self._bin_dir is None else f"{self._bin_dir}/{name}"

    def environment(self) -> dict[str, str]:
        """Return the whole environment of a command, which then prints times as epoch seconds."""
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        env |= {
            "LC_ALL": "C",
            "SLURM_TIME_FORMAT": "%s",
            "PATH": os.environ.get("PATH", os.defpath),
        }
        return env | self.configuration()

    def configuration(self) -> dict[str, str]:
        """Return the variables that select the cluster."""
        return {} if self._slurm_conf is None else {"SLURM_CONF": self._slurm_conf}

    def call(self, name: str, *arguments: str, **env: str) -> Call:
        """Return a command with its arguments and its environment, extended by `env`."""
        return Call([self.program(name), *arguments], self.environment() | env)

    def request(self, what: str, *calls: Call) -> tuple[Completed, ...]:
        """Run commands in parallel, and run all of them again after a transient error of one.

        Args:
            what: the request, for the error message: `requeue job 7`.
            calls: the commands; all must be safe to repeat.

        Raises:
            SlurmError: one of them failed; its message determines the class.
        """
        began = time.monotonic()
        deadline = began + self.timeout
        pause, bad = _FIRST_PAUSE, None
        while True:
            try:
                answers = run_all(calls, timeout=deadline - time.monotonic())
            except SlurmUnavailableError as error:
                if (problem := missing_configuration(error.stderr)) is not None:
                    raise SlurmUnavailableError(f"{what}: {problem}") from None
                if bad is None:
                    raise
                raise error_for(bad, what) from None  # the command's own error, not the deadline's
            bad = next(filter(failed, answers), None)
            if bad is None:
                return answers
            until = deadline
            if waits_for_database(bad):
                until = min(deadline, began + DATABASE_TIMEOUT)
            if not is_transient(bad) or time.monotonic() + pause >= until:
                raise error_for(bad, what)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
