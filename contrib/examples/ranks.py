"""The ranks of a training run: who they are, and how they add up their gradients over TCP."""

import os
import secrets
import socket
import struct
import time
from pathlib import Path

import numpy as np
from textmodel import MICRO_BATCHES

START_TIMEOUT = 60.0
GREETING_TIMEOUT = 5.0
_TOKEN_BYTES = 16
_GREETING = struct.Struct(f"!{_TOKEN_BYTES}sI")
_SIZE = struct.Struct("!Q")
_WELCOME = b"+"


class PeerLostError(ConnectionError):
    """Another rank has gone."""


class RendezvousTimeoutError(TimeoutError):
    """The ranks have not met."""


class Ranks:
    """This rank among `size`; rank 0 adds up what all send and tells them the sum.

    Only a step of srun has several. They meet by a file in `folder`, which they share anyway:
    nodes need no names that resolve beyond those of their hosts, and no port is fixed.
    """

    def __init__(self, folder: Path) -> None:
        self.size = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
        self.rank = int(os.environ["SLURM_PROCID"]) if self.size > 1 else 0
        self.node = os.environ.get("SLURMD_NODENAME", socket.gethostname())
        names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        tag = "-".join(os.environ.get(name, "0") for name in names)
        self._meeting = folder / f".ranks-{tag}"
        self._peers: dict[int, socket.socket] = {}
        if self.size > 1:
            folder.mkdir(parents=True, exist_ok=True)
            self._invite() if self.rank == 0 else self._join()

    def mine(self) -> range:
        """The micro-batches of this rank."""
        return _share_of(self.rank, self.size)

    def add_up(self, parts: dict[int, np.ndarray]) -> np.ndarray:
        """The sum of all micro-batches' arrays, in their order: the same on every rank.

        Raises:
            PeerLostError: another rank has gone.
        """
        if self.rank != 0:
            for number in self.mine():
                self._send(0, parts[number].tobytes())
            return np.frombuffer(self._receive(0), dtype=np.float32)
        for peer in self._peers:
            for number in _share_of(peer, self.size):
                parts[number] = np.frombuffer(self._receive(peer), dtype=np.float32)
        total = parts[0].copy()
        for number in range(1, MICRO_BATCHES):
            total += parts[number]
        return np.frombuffer(self.share(total.tobytes()), dtype=np.float32)

    def share(self, data: bytes) -> bytes:
        """What rank 0 has: other ranks' argument does not matter."""
        if self.rank != 0:
            return self._receive(0)
        for peer in self._peers:
            self._send(peer, data)
        return data

    # --- meeting ---------------------------------------------------------------------------------

    def _invite(self) -> None:
        token = secrets.token_bytes(_TOKEN_BYTES)
        with socket.create_server(("", 0), backlog=self.size) as server:
            partial = self._meeting.with_suffix(".tmp")
            partial.touch(mode=0o600)
            partial.write_text(f"{socket.gethostname()} {server.getsockname()[1]} {token.hex()}")
            partial.replace(self._meeting)
            deadline = time.monotonic() + START_TIMEOUT
            try:
                while len(self._peers) < self.size - 1:
                    server.settimeout(max(0.01, deadline - time.monotonic()))
                    self._welcome(server.accept()[0], token)
            except TimeoutError:
                missing = sorted(set(range(1, self.size)) - set(self._peers))
                raise RendezvousTimeoutError(f"ranks {missing} did not come") from None
            finally:
                self._meeting.unlink(missing_ok=True)
        self._peers = dict(sorted(self._peers.items()))

    def _welcome(self, peer: socket.socket, token: bytes) -> None:
        try:
            peer.settimeout(GREETING_TIMEOUT)
            given, rank = _GREETING.unpack(_exactly(peer, _GREETING.size))
            if not secrets.compare_digest(given, token):
                raise ConnectionError("not one of this step's ranks")
            peer.sendall(_WELCOME)
        except OSError:  # a stranger, or one that has gone: the others may still come
            peer.close()
        else:
            self._peers[rank] = _ready(peer)

    def _join(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while 0 not in self._peers:
            # The file may be absent yet, or one that a killed step of the same name left behind.
            try:
                host, port, token = self._meeting.read_text().split()
                near = "localhost" if host == socket.gethostname() else host
                peer = socket.create_connection((near, int(port)), timeout=GREETING_TIMEOUT)
                peer.sendall(_GREETING.pack(bytes.fromhex(token), self.rank))
                if _exactly(peer, 1) == _WELCOME:
                    self._peers[0] = _ready(peer)
            except (OSError, ValueError):
                if time.monotonic() > deadline:
                    raise RendezvousTimeoutError("rank 0 did not come") from None
                time.sleep(0.05)

    # --- talking ---------------------------------------------------------------------------------

    def _send(self, peer: int, data: bytes) -> None:
        try:
            self._peers[peer].sendall(_SIZE.pack(len(data)) + data)
        except OSError as error:
            raise PeerLostError(f"Connection closed by peer: rank {peer}") from error

    def _receive(self, peer: int) -> bytes:
        try:
            (size,) = _SIZE.unpack(_exactly(self._peers[peer], _SIZE.size))
            return _exactly(self._peers[peer], size)
        except OSError as error:
            raise PeerLostError(f"Connection closed by peer: rank {peer}") from error


def _share_of(rank: int, size: int) -> range:
    return range(rank, MICRO_BATCHES, size)


def _ready(peer: socket.socket) -> socket.socket:
    peer.settimeout(None)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = peer.recv(size - len(data))
        if not piece:
            raise ConnectionError("closed")
        data += piece
    return bytes(data)
