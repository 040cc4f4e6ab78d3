"""A local ssh server that lets nobody in."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def refusing(folder: Path) -> Iterator[int]:
    """The port of an ssh server on this machine."""
    folder.mkdir(parents=True)
    key = folder / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    options = (f"Port={port}", "ListenAddress=127.0.0.1", f"HostKey={key}", "PidFile=none")
    options += ("UsePAM=no", "PasswordAuthentication=no", "AuthorizedKeysFile=none")
    command = [str(program), "-D", "-f", "/dev/null", *(f"-o{one}" for one in options)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as test:
                if test.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()
