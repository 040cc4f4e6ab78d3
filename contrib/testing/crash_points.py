"""Interrupt the plugin at any of its calls of Slurm's commands, chosen by caller, job and number.

Slurm's commands are replaced, for the plugin only, by a script that counts the calls and kills the
caller, freezes it, runs another command or kills slurmctld, before or after a call is carried out.
"""

import os
import pwd
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

COMMANDS = ("scontrol", "squeue", "sinfo", "scancel")
_SCRIPT = Path(__file__).with_name("crash_points.sh")


class Caller(Enum):
    """A part of the plugin that calls Slurm's commands, told by its command line."""

    FRONT = "front"
    """The shell part of the hook."""
    HOOK = "hook"
    HELPER = "helper"
    RECONCILER = "reconciler"
    SUPERVISOR = "supervisor"
    """What it does to files and processes counts as its calls: `interrupt_supervisor`."""
    REAPER = "reaper"
    """The same of the process between the supervisor and its program."""


class When(Enum):
    """Whether Slurm carries out the call before its caller is interrupted."""

    BEFORE = "before"
    AFTER = "after"


class Act(Enum):
    """What happens at a call."""

    KILL = "kill"
    """SIGKILL to the caller."""
    FREEZE = "freeze"
    """SIGSTOP to the caller, and SIGCONT ten seconds later."""
    RUN = "run"
    """Another command is carried out first, as SlurmUser."""
    SLURMCTLD = "slurmctld"
    """SIGKILL to slurmctld."""


EVERY_CALL = "*"


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """One interruption: at which call of which caller, and what happens there."""

    caller: Caller
    call: str
    """The call's number from 1, a shell pattern of its text, or EVERY_CALL; the first that fits."""
    when: When
    act: Act = Act.KILL
    command: str = ""
    """A shell command for Act.RUN."""


class CrashPoints:
    """The replaced commands, and what they have recorded.

    Args:
        directory: an empty directory of their own.
        bin_dir: the directory of Slurm's commands.
        pid_file: slurmctld's.
        user: who runs the plugin: SlurmUser.
    """

    def __init__(
        self, directory: Path, *, bin_dir: Path, pid_file: Path, user: pwd.struct_passwd
    ) -> None:
        self.bin_dir = directory / "bin"
        self.folder = self._points = directory / "points"
        self._user = user
        self.bin_dir.mkdir(parents=True)
        self._make_folder(self._points)
        text = _SCRIPT.read_text()
        values = {"@BIN@": bin_dir, "@POINTS@": self._points, "@SLURMCTLD_PID@": pid_file}
        for name, value in values.items():
            text = text.replace(name, str(value))
        for name in COMMANDS:
            (self.bin_dir / name).write_text(text)
            (self.bin_dir / name).chmod(0o755)

    def record(self, job_id: int) -> None:
        """Record the calls for a job from now on."""
        for caller in Caller:
            self._make_folder(self._folder(job_id, caller))

    def plan(self, job_id: int, interruption: Interruption) -> None:
        """Plan an interruption for a job whose calls are recorded."""
        folder = self._folder(job_id, interruption.caller)
        (folder / "command").write_text(f"{interruption.command}\n")
        words = (interruption.when.value, interruption.act.value, interruption.call)
        new = folder / "plan.new"
        new.write_text(f"{' '.join(words)}\n")
        new.replace(folder / "plan")

    def calls(self, job_id: int, caller: Caller) -> list[str]:
        """Return the calls for a job in their order, such as `scontrol requeue 7`."""
        return [call for _, call in self.timed_calls(job_id, caller)]

    def timed_calls(self, job_id: int, caller: Caller) -> list[tuple[float, str]]:
        """Return the calls for a job in their order, each with its time in epoch seconds."""
        words = (line.split(" ", 2) for line in self._lines(job_id, caller))
        return [(float(at), call) for at, _, call in words]

    def interrupted(self, job_id: int, caller: Caller) -> str | None:
        """Return the call that was interrupted last; None: none was."""
        number = self.reached(job_id, caller)
        if number is None:
            return None
        path = self._folder(job_id, caller) / f"call.{number}"
        return path.read_text().rstrip("\n").split(" ", 2)[2]

    def trace(self, job_id: int) -> list[str]:
        """Return the calls of all callers: epoch seconds, process id, caller, number, command."""
        found = []
        for caller in Caller:
            for number, line in enumerate(self._lines(job_id, caller), 1):
                at, pid, call = line.split(" ", 2)
                found.append(f"{at} {pid} {caller.value} {number}: {call}")
        return sorted(found)

    def reached(self, job_id: int, caller: Caller) -> int | None:
        """Return the number of the call that was interrupted last; None: none was."""
        path = self._folder(job_id, caller) / "reached"
        text = path.read_text() if path.exists() else ""
        return int(text) if text.strip() else None

    def take_slurmctld_killed(self) -> bool:
        """Return whether slurmctld was killed since the last call of this method."""
        flag = self._points / "slurmctld-killed"
        killed = flag.exists()
        flag.unlink(missing_ok=True)
        return killed

    def _lines(self, job_id: int, caller: Caller) -> list[str]:
        files = self._folder(job_id, caller).glob("call.*")
        texts = [path.read_text() for path in sorted(files, key=_call_number)]
        # A call that is being recorded has no text yet.
        return [text.rstrip("\n") for text in texts if text]

    def _folder(self, job_id: int, caller: Caller) -> Path:
        return self._points / f"{caller.value}.{job_id}"

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir()
        if os.geteuid() == 0:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)


def _call_number(path: Path) -> int:
    match = re.search(r"[0-9]+$", path.name)
    return int(match[0]) if match else 0
