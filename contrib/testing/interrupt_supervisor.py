"""Count what a supervisor does to files and processes, and kill it before a planned operation.

Only a walk over crash points installs this, into a virtual environment of its own, in which every
Python imports it when it starts (`supervisor_points`). It imports nothing of the package.
"""

import fcntl
import fnmatch
import os
import re
import signal
import sys
import threading
import time
from typing import Any

POINTS = "@POINTS@"
"""The directory of the records of all jobs; filled in where this file is installed."""
AFTER = 0.1
"""Seconds until a process is killed that is to carry out the planned operation."""
MOST = 2000
"""Operations of a process that are counted."""
_QUESTIONS = {"show", "ping", "--version"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_RANDOM = re.compile(r"^\.(.*)\.[0-9a-f]{8}$")
"""The name of a file that is renamed to its own once it is written."""


class Recorder:
    """Writes down the operations of one process, as `crash_points.sh` does with commands.

    Args:
        role: who the process is: supervisor or reaper.
        job_id: its job.
    """

    def __init__(self, role: str, job_id: str) -> None:
        self._folder = f"{POINTS}/{role}.{job_id}"
        self._role, self._job_id = role, job_id
        self._pid = os.getpid()
        self._number = 0
        self._busy = threading.local()
        self._armed = os.path.isdir(self._folder)  # noqa: PTH112 - few imports
        if role == "supervisor":
            os.register_at_fork(after_in_child=self._become_reaper)
        self.note("start", ())

    def _become_reaper(self) -> None:
        """In a forked process: the reaper's own records; its trainer is left alone."""
        if self._role != "supervisor":
            self._armed = False
            return
        self._role, self._folder = "reaper", f"{POINTS}/reaper.{self._job_id}"
        self._pid, self._number = os.getpid(), 0
        self._armed = os.path.isdir(self._folder)  # noqa: PTH112 - few imports

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record an operation that is about to be carried out, and interrupt it if planned."""
        if not self._armed or getattr(self._busy, "now", False) or os.getpid() != self._pid:
            return
        label = label_of(event, arguments)
        if label is None:
            return
        self._busy.now = True
        try:
            self._record(label)
        except OSError:
            self._armed = False  # the walk is over
        finally:
            self._busy.now = False

    def _record(self, label: str) -> None:
        number = self._take_number(f"{time.time():.9f} {self._pid} {label}\n")
        plan = _read(f"{self._folder}/plan").split(" ", 2)
        if len(plan) < 3 or number > MOST:
            return
        when, _, planned = plan
        if not (planned == str(number) or fnmatch.fnmatchcase(label, planned)):
            return
        # Two threads may come here at once.
        with open(f"{self._folder}/lock", "a") as lock:  # noqa: PTH123 - few imports
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.exists(f"{self._folder}/reached"):  # noqa: PTH110 - few imports
                return
            _write(f"{self._folder}/reached", f"{number}\n")
        if when == "before":
            os.kill(self._pid, signal.SIGKILL)
        threading.Timer(AFTER, os.kill, (self._pid, signal.SIGKILL)).start()

    def _take_number(self, text: str) -> int:
        """Write the record of the next operation; the numbers go on in the next supervisor."""
        number = self._number  # other threads are here too
        while True:
            number += 1
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            try:
                handle = os.open(f"{self._folder}/call.{number}", flags, 0o644)
            except FileExistsError:
                continue
            with os.fdopen(handle, "w") as stream:
                stream.write(text)
            self._number = number
            return number


def label_of(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return an operation in words; None: it changes nothing that outlives the process."""
    if event == "subprocess.Popen":
        return _label_of_command([os.fsdecode(word) for word in arguments[1]])
    if event == "open":
        return _label_of_open(arguments[0], arguments[2])
    if event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}:
        path = arguments[1] if event == "os.rename" else arguments[0]
        return f"{event.removeprefix('os.')} {_short(os.fsdecode(path))}"
    if event in {"os.kill", "os.killpg"}:
        return f"{event.removeprefix('os.')} {arguments[1]}"
    return event.removeprefix("os.") if event in {"start", "os.fork", "os.exec"} else None


def _label_of_command(words: list[str]) -> str | None:
    """Return the start of a program in words; None: it only asks Slurm."""
    name = words[0].rpartition("/")[2]
    if name in {"squeue", "sinfo"} or (name == "scontrol" and words[1] in _QUESTIONS):
        return None
    return f"run {name} {' '.join(' '.join(words[1:]).split())}"[:100]


def _label_of_open(path: object, flags: int) -> str | None:
    """Return the opening of a file in words; None: it is only read."""
    if not isinstance(path, str | bytes) or not flags & _WRITING:
        return None
    name = os.fsdecode(path)
    return None if name.startswith(("/dev/", "/proc/")) else f"write {_short(name)}"


def _short(path: str) -> str:
    """Return the last parts of a path, without what differs from run to run."""
    *parents, name = path.split("/")
    return "/".join([*parents[-1:], _RANDOM.sub(r"\1 (new)", name)])


def _read(path: str) -> str:
    try:
        with open(path) as stream:  # noqa: PTH123 - few imports
            return stream.read().strip()
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w") as stream:  # noqa: PTH123 - few imports
        stream.write(text)


def install() -> None:
    """Follow this process if it is the supervisor of a job."""
    words, job_id = sys.orig_argv, os.environ.get("SLURM_JOB_ID")
    if job_id is not None and "--run-dir" in words and "--settle" not in words:
        recorder = Recorder("supervisor", job_id)
        sys.addaudithook(recorder.note)


if "@" not in POINTS:
    install()
