"""A root directory of its own for a test: this system as it is, and what is written to it is lost.

An overlay over `/` in namespaces of its own: packages are installed, and files in /etc and /usr
written, while the machine stays as it is. All processes in it end with it.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from contrib.testing.waiting import LONG_DEADLINE, await_

TOP = Path(__file__).resolve().parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_READY = "ready"
# Arguments: an empty directory, the checkout. In memory: an overlay cannot lie on its own base.
_MOUNT = """set -eu
mount -t tmpfs -o mode=0755 none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
root="$1/root"
mkdir -p "$root/proc" "$root/dev" "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 none "$root/tmp"
# After /tmp: the checkout may lie in it.
mkdir -p "$root$2"
mount --bind "$2" "$root$2"
mount -o remount,bind,ro "$root$2"
touch "$root/tmp/ready"
exec chroot "$root" sleep infinity
"""


def missing() -> str | None:
    """Return why there can be no such root on this machine, or None if there can."""
    if os.geteuid() != 0:
        return "only root can mount a root directory"
    absent = [name for name in ("unshare", "nsenter") if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)}: not installed"
    try:
        with CleanRoot():
            return None
    except OSError as error:
        return f"no overlay can be mounted here: {error}"


class CleanRoot:
    """The root; `with` makes it, and ends it with all its processes and files.

    `inside(…)` is the command line of a program in it. The checkout is there too, read-only.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._directory: Path | None = None

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="csx-root-"))
        self._process = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                *("--propagation", "private", "--", "sh", "-c", _MOUNT, "clean-root"),
                *(str(self._directory), str(TOP)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            await_(self._is_ready, "a root directory for the test")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            stderr = self._process.stderr
            raise OSError(stderr.read().strip() if stderr else "it has ended")
        pid = self._first()
        return pid is not None and os.path.exists(f"/proc/{pid}/root/tmp/{_READY}")  # noqa: PTH110

    def _first(self) -> int | None:
        """Return the process id of the first process inside, as seen from here."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        words = children.read_text().split() if children.exists() else []
        return int(words[0]) if words else None

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stderr:
                self._process.stderr.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def inside(self, *command: str) -> list[str]:
        """Return the command line that runs a command in this root, as root, in `/`."""
        enter = ("nsenter", "--mount", "--pid", "--root", "--wd", f"--target={self._first()}")
        return [*enter, "--", *command]

    def run(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        text: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in this root, as root, with a bare environment; stderr is in stdout."""
        done = subprocess.run(
            self.inside(*command),
            env={"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"} | dict(env or {}),
            input=text,
            stdin=None if text is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONG_DEADLINE,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}")
        return done

    def path(self, name: str) -> Path:
        """Return the path of a file of this root, as seen from outside."""
        return Path(f"/proc/{self._first()}/root/{name.lstrip('/')}")


def install_packages(root: CleanRoot, packages: Sequence[str]) -> str | None:
    """Install Debian packages; return why they cannot be fetched, or None."""
    command = ("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    done = root.run(*command, env=quiet, check=False)
    if done.returncode != 0:
        root.run("apt-get", "update", "-q", check=False)
        done = root.run(*command, env=quiet, check=False)
    return None if done.returncode == 0 else done.stdout[-1000:]
