"""The keeper: parent of all of a cluster's daemons, holder of its lock and of its ports."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from contrib.devcluster_parts.errors import DevclusterError, ignore_signals
from contrib.devcluster_parts.processes import (
    Process,
    adopt_orphans,
    descendants,
    kill_all,
    read_processes,
    record,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from contrib.devcluster_parts.cluster import Cluster

# Below Linux' ephemeral ports (32768 on), so that no client's socket can sit on a node's port.
PORTS = range(10240, 32704)
PORT_UNIT = 64
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Keeper:
    """Starts daemons on request and takes everything down when the cluster is to end."""

    def __init__(self, directory: Path, until_exit_of: int | None) -> None:
        """Take the lock on the directory; DevclusterError if another keeper has it."""
        self.directory = directory
        self.daemons: dict[int, str] = {}
        self.lock = lock_directory(directory)
        self.selector = selectors.DefaultSelector()
        self.wake, self._signalled = socket.socketpair()
        self._wake_on_signals()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listen()
        if until_exit_of is not None:
            self.selector.register(open_process(until_exit_of), selectors.EVENT_READ, "parent")
        adopt_orphans()

    def _listen(self) -> None:
        path = self.directory / "keeper.sock"
        path.unlink(missing_ok=True)
        self.listener.bind(str(path))
        path.chmod(0o600)
        self.listener.listen()
        self.selector.register(self.listener, selectors.EVENT_READ, "request")

    def _wake_on_signals(self) -> None:
        self.wake.settimeout(0)
        self._signalled.settimeout(0)
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *ENDING_SIGNALS):
            signal.signal(number, lambda *_: None)
        self.selector.register(self.wake, selectors.EVENT_READ, "signal")

    def serve(self, guard: socket.socket) -> None:
        """Return when the cluster is to end.

        That is: at a signal, when `up` ended before it was ready (its end of the guard is closed),
        when the process ended that --until-exit-of names, when the directory was removed.
        """
        self.selector.register(guard, selectors.EVENT_READ, "guard")
        while os.fstat(self.lock).st_nlink:  # none left: keeper.lock was removed, so DIR was
            for key, _ in self.selector.select(timeout=1):
                match key.data:
                    case "parent":
                        return
                    case "signal" if self._reap_or_end():
                        return
                    case "guard" if guard.recv(64) != b"ready\n":
                        return
                    case "guard":
                        self.selector.unregister(guard)
                        guard.close()
                    case "request":
                        self._answer()

    def _reap_or_end(self) -> bool:
        numbers = self.wake.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if name := self.daemons.pop(ended[0], None):
                    note(f"{name} ended with {os.waitstatus_to_exitcode(ended[1])}")
        return any(number in ENDING_SIGNALS for number in numbers)

    def _answer(self) -> None:
        connection, _ = self.listener.accept()
        connection.settimeout(5)
        reply: dict[str, object]
        with contextlib.suppress(OSError), connection, connection.makefile("rw") as stream:
            try:
                reply = {"pid": self._start(**json.loads(stream.readline()))}
            except (OSError, ValueError, TypeError) as error:
                reply = {"error": str(error)}
            stream.write(json.dumps(reply) + "\n")

    def _start(
        self, name: str, argv: list[str], environment: dict[str, str], user: str | None
    ) -> int:
        other: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
        with (self.directory / "log" / f"{name}.out").open("ab") as output:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # Where a slurmctld that has put itself in the background is, and so its hooks.
                cwd=self.directory / "log",
                env=environment,
                umask=0o022,
                **other,
            )
        child.returncode = 0  # _reap_or_end reaps it: Popen is not to wait for it, too
        self.daemons[child.pid] = name
        record(self.directory / "run" / f"{name}.process", child.pid)
        note(f"{name} started, pid {child.pid}")
        return child.pid


def note(text: str) -> None:
    """Write a line to keeper.log."""
    print(f"{time.strftime('%F %T')} {text}", flush=True)


def lock_directory(directory: Path) -> int:
    """Lock the directory for as long as this process lives, and record that it is the keeper."""
    path = directory / "keeper.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DevclusterError(
            f"{directory}: a cluster is up here; first: devcluster down {directory}"
        ) from None
    record(path, os.getpid())
    return lock


def open_process(pid: int) -> int:
    """A file descriptor that becomes readable when that process ends."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise DevclusterError(f"--until-exit-of {pid}: no such process") from None


def reserve_ports(count: int) -> tuple[int, list[socket.socket]]:
    """The first of `count` ports in a row that are free, and the claims to be kept open.

    A claim is an abstract unix socket: atomic, between all users of the machine (the network
    namespace, to be exact), and gone with its process. So neither two clusters that start at the
    same moment nor one whose node is down just now ever get the same ports.
    """
    units = -(-count // PORT_UNIT)
    for base in range(PORTS.start, PORTS.stop - units * PORT_UNIT, PORT_UNIT):
        claims: list[socket.socket] = []
        try:
            for unit in range(units):
                claims.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                claims[-1].bind(f"\0csx-devcluster-port-{base + unit * PORT_UNIT}")
            for port in range(base, base + count):
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("", port))
                    probe.listen()
        except OSError:
            for claim in claims:
                claim.close()
        else:
            return base, claims
    raise DevclusterError(f"no {count} free ports in a row from {PORTS.start} to {PORTS.stop}")


def own_descendants() -> list[Process]:
    """Everything below this process."""
    processes = read_processes()
    return [processes[pid] for pid in descendants([os.getpid()], processes) - {os.getpid()}]


def keep(options: argparse.Namespace) -> int:
    """Live a keeper's life, from the lock to the cluster's end."""
    guard = socket.socket(fileno=options.guard)
    try:
        keeper = Keeper(options.directory, options.until_exit_of)
        port, claims = reserve_ports(options.ports)
        answer: dict[str, object] = {"port": port}
    except (DevclusterError, OSError) as error:
        answer = {"error": str(error)}
    with contextlib.suppress(BrokenPipeError):  # `up` is gone already: serve will see it, too
        guard.sendall(json.dumps(answer).encode() + b"\n")
    if "error" in answer:
        return 1
    keeper.serve(guard)
    ignore_signals()
    note(f"ended {kill_all(own_descendants)} processes")
    with contextlib.suppress(ChildProcessError):  # a container's init may reap nothing
        while True:
            os.wait()
    for claim in claims:
        claim.close()
    return 0


@contextlib.contextmanager
def new_keeper(
    directory: Path, ports: int, until_exit_of: int | None, script: Path
) -> Iterator[int]:
    """A keeper for a cluster that is being booted in the block; gives the first of its ports.

    However the block is left, by an exception or by this process being killed, the keeper takes
    down what was started; only at its regular end does the cluster stay.
    """
    guard, theirs = socket.socketpair()
    command = [sys.executable, "-I", str(script), "keep", str(directory)]
    command += [f"--ports={ports}", f"--guard={theirs.fileno()}"]
    command += [f"--until-exit-of={until_exit_of}"] if until_exit_of is not None else []
    with (directory / "keeper.log").open("ab") as output:
        keeper = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[theirs.fileno()],
        )
    theirs.close()
    try:
        yield first_port(guard, directory)
        ignore_signals()  # a signal either takes it down or comes too late: nothing between
        guard.sendall(b"ready\n")
        keeper.returncode = 0  # it outlives this process: Popen is not to complain of that
    except BaseException:
        ignore_signals()
        guard.close()
        keeper.wait(timeout=180)
        raise
    finally:
        guard.close()


def first_port(guard: socket.socket, directory: Path) -> int:
    """What the keeper says first; DevclusterError with its reason if it cannot be one."""
    guard.settimeout(180)
    with guard.makefile("r") as stream:
        line = stream.readline()
    answer = json.loads(line or f'{{"error": "no keeper; see {directory}/keeper.log"}}')
    if "error" in answer:
        raise DevclusterError(answer["error"])
    return int(answer["port"])


def start_daemon(cluster: Cluster, name: str, argv: Sequence[str], user: str | None = None) -> None:
    """Have the cluster's keeper start a daemon, as another user if one is named."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SLURM_CONF": str(cluster.conf),
    }
    request = {"name": name, "argv": list(argv), "environment": environment, "user": user}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(180)
            connection.connect(str(cluster.directory / "keeper.sock"))
            # No file object around it: closing that would write again, and fail, at an interrupt.
            connection.sendall(json.dumps(request).encode() + b"\n")
            text = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError as error:
        raise DevclusterError(f"{cluster.directory}: no keeper ({error}): is it up?") from error
    answer = json.loads(text or b'{"error": "the keeper did not answer"}')
    if "error" in answer:
        raise DevclusterError(f"{name} could not be started: {answer['error']}")
