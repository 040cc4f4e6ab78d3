"""Debian releases in chroots: each made once with debootstrap, to run commands on its Slurm."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from contrib.devcluster_parts.chroot import (
    MARKER,
    OWN_MOUNTS,
    PACKAGES,
    SYSTEM_PATH,
    inside,
    make,
    report,
)
from contrib.devcluster_parts.errors import DevclusterError, MissingSoftwareError

if TYPE_CHECKING:
    from collections.abc import Sequence

RELEASES = ("bookworm", "trixie", "forky")
"""Debian's names; their Slurm is 22.05, 24.11 and 26.05 (2026)."""
SHARED = ("/tmp", "/var/tmp")
"""Directories that are the same inside and outside; a cluster's directory must be in one."""


def cache_directory() -> Path:
    """The directory that the chroots are kept in; CSX_RELEASE_CACHE names another."""
    return Path(os.environ.get("CSX_RELEASE_CACHE") or "/var/cache/slurm_restart")


def current_release() -> str | None:
    """The release of the chroot that this process runs in; None outside of those made here."""
    try:
        return MARKER.read_text().strip()
    except FileNotFoundError:
        return None


def enter(release: str, command: Sequence[str], *, checkout: Path, announce: bool) -> NoReturn:
    """Replace this process by a command in the chroot of a release, which is made if necessary.

    The command sees SHARED, the checkout and this process's environment, but the system's PATH.

    Args:
        release: one of RELEASES.
        command: program and arguments; paths as inside.
        checkout: directory of this project's files.
        announce: print which Slurm it is.

    Raises:
        MissingSoftwareError: no chroot can be made or entered here.
        DevclusterError: making it failed.
    """
    root = prepare(release)
    if announce:
        report(f"{release}: {slurm_version(root)} in {root}")
    environment = os.environ | {"PATH": SYSTEM_PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"}
    for name in ("TMPDIR", "XDG_CACHE_HOME", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"):
        environment.pop(name, None)
    argv = inside(root, command, [*SHARED, *unshared(checkout)])
    os.execvpe(argv[0], argv, environment)


def unshared(path: Path) -> list[str]:
    """The path in a list, or an empty list if it is in a shared directory anyway."""
    return [] if in_shared_directory(path) else [str(path)]


def in_shared_directory(path: Path) -> bool:
    """Whether a path is the same inside a chroot and outside."""
    return any(path.is_relative_to(shared) for shared in SHARED)


def prepare(release: str) -> Path:
    """Return the chroot of a release. The first process makes it, and others wait for that."""
    require_root()
    root = chroot_of(release)
    if not complete(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        with root.with_name(f"{release}.lock").open("w") as lock:
            take_lock(lock.fileno(), release)
            if not complete(root):
                make(release, root, root.with_name(f"{release}.log"))
    return root


def chroot_of(release: str) -> Path:
    """The directory of a release's chroot, made or not; another list of packages has another."""
    packages = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()
    return cache_directory() / f"{release}-{packages[:8]}"


def complete(root: Path) -> bool:
    """Whether a chroot was made to the end."""
    return (root / MARKER.relative_to("/")).exists()


def require_root() -> None:
    """Check that a chroot can be entered; MissingSoftwareError with the reason if it cannot."""
    if os.geteuid() != 0:
        raise MissingSoftwareError("--release: only root can make and enter a chroot: run as root")
    probe = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingSoftwareError(
            f"--release: this machine allows no mount, which a chroot needs: {done.stderr.strip()}"
        )


def take_lock(lock: int, release: str) -> None:
    """Wait until no other process makes the chroot."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report(f"{release}: waiting for the process that makes this chroot")
        fcntl.flock(lock, fcntl.LOCK_EX)


def slurm_version(root: Path) -> str:
    """What `slurmctld -V` prints in a chroot (`slurm-wlm 24.11.5`)."""
    command = ["chroot", str(root), "/usr/sbin/slurmctld", "-V"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevclusterError(
            f"{root}: slurmctld -V failed: {done.stderr.strip()}; remove that directory, and it is "
            "made again"
        )
    return done.stdout.strip()
