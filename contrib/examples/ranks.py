"""The ranks of a training run: who they are, and how they add up their gradients over TCP."""

import os
import socket
import struct
import sys
import time
from pathlib import Path

import numpy as np
from textmodel import MICRO_BATCHES

START_TIMEOUT = 60.0
_HEADER = struct.Struct("!Iq")


class PeerLostError(ConnectionError):
    """Another rank has gone."""


class Ranks:
    """This rank among `size`; rank 0 adds up what all send and tells them the sum."""

    def __init__(self, folder: Path) -> None:
        self.rank = int(os.environ.get("SLURM_PROCID", "0"))
        self.size = int(os.environ.get("SLURM_NTASKS", "1")) if "SLURM_PROCID" in os.environ else 1
        self.node = os.environ.get("SLURMD_NODENAME", socket.gethostname())
        names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        tag = "-".join(os.environ.get(name, "0") for name in names)
        self._meeting = folder / f".ranks-{tag}"
        self._peers: dict[int, socket.socket] = {}
        self._root: socket.socket | None = None
        if self.size > 1:
            self._meet()

    def mine(self) -> list[int]:
        """The micro-batches of this rank."""
        return list(range(self.rank, MICRO_BATCHES, self.size))

    def _meet(self) -> None:
        if self.rank == 0:
            self._invite()
        else:
            self._join()

    def _invite(self) -> None:
        with socket.create_server(("", 0), backlog=self.size) as server:
            server.settimeout(START_TIMEOUT)
            partial = self._meeting.with_suffix(".tmp")
            partial.write_text(f"{socket.gethostname()} {server.getsockname()[1]}")
            partial.replace(self._meeting)
            try:
                while len(self._peers) < self.size - 1:
                    peer, _ = server.accept()
                    (rank,) = struct.unpack("!I", _receive(peer, 4))
                    self._peers[rank] = peer
            except TimeoutError:
                missing = sorted(set(range(1, self.size)) - set(self._peers))
                raise TimeoutError(f"rendezvous: ranks {missing} did not come") from None
            finally:
                self._meeting.unlink(missing_ok=True)

    def _join(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                host, port = self._meeting.read_text().split()
                self._root = socket.create_connection((host, int(port)), timeout=START_TIMEOUT)
                self._root.settimeout(None)
                self._root.sendall(struct.pack("!I", self.rank))
            except (OSError, ValueError):
                if time.monotonic() > deadline:
                    raise TimeoutError("rendezvous: rank 0 did not come") from None
                time.sleep(0.05)
            else:
                return

    def add_up(self, gradients: dict[int, np.ndarray]) -> np.ndarray:
        """The sum of all micro-batches' gradients, in their order: the same on every rank."""
        if self.size == 1:
            return _sum(gradients)
        if self._root is not None:
            for number, gradient in gradients.items():
                _send(self._root, number, gradient)
            return _get(self._root)[1]
        for peer in self._peers.values():
            for _ in range(sum(1 for n in range(MICRO_BATCHES) if self._owner(n, peer))):
                number, gradient = _get(peer)
                gradients[number] = gradient
        total = _sum(gradients)
        for peer in self._peers.values():
            _send(peer, 0, total)
        return total

    def _owner(self, number: int, peer: socket.socket) -> bool:
        return self._peers.get(number % self.size) is peer


def _sum(gradients: dict[int, np.ndarray]) -> np.ndarray:
    total = np.zeros_like(gradients[0])
    for number in range(MICRO_BATCHES):
        total += gradients[number]
    return total


def _send(peer: socket.socket, number: int, array: np.ndarray) -> None:
    data = array.tobytes()
    try:
        peer.sendall(_HEADER.pack(number, len(data)) + data)
    except OSError as error:
        raise PeerLostError(f"Connection closed by peer: {error.strerror}") from error


def _get(peer: socket.socket) -> tuple[int, np.ndarray]:
    number, size = _HEADER.unpack(_receive(peer, _HEADER.size))
    return number, np.frombuffer(_receive(peer, size), dtype=np.float32)


def _receive(peer: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        try:
            piece = peer.recv(size - len(data))
        except TimeoutError:
            raise
        except OSError as error:
            raise PeerLostError(f"Connection closed by peer: {error.strerror}") from error
        if not piece:
            raise PeerLostError("Connection closed by peer")
        data += piece
    return bytes(data)


def log(message: str, level: str = "INFO") -> None:
    """A line in the trainer's form."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    print(f"{stamp},{int(now % 1 * 1000):03d} {level}:   {message}", file=sys.stderr, flush=True)
