"""Make a chroot of a Debian release with debootstrap, and build the command lines that enter it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from contrib.devcluster_parts.errors import DevclusterError, MissingSoftwareError
from contrib.devcluster_parts.processes import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurmdbd",
    "slurm-wlm-mysql-plugin",
    "munge",
    "mariadb-server-core",
    "mariadb-client-core",
    "python3",
    "python3-venv",
    "procps",
)
MARKER = Path("/etc/slurm_restart-release")
"""In a chroot made here: its release. Written last, so that a chroot without it is incomplete."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
REPORT_EVERY = 10.0
"""Seconds between two lines of progress."""

OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private", "--")
"""What is mounted below this command is seen by no other process, and goes with the last one."""

# Arguments: the chroot, paths to share, `--`, the command.
ENTER = """set -eu
root=$1
shift
for path in /proc /sys /dev; do
    mount --rbind "$path" "$root$path"
done
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then
        mkdir -p "$root$1"
    fi
    if [ -e "$1" ] && [ -e "$root$1" ]; then
        mount --bind "$1" "$root$1"
    fi
    shift
done
shift
directory=/
if [ -d "$root$PWD" ]; then
    directory=$PWD
fi
exec chroot "$root" env --chdir="$directory" "$@"
"""


def inside(root: Path, command: Sequence[str], shared: Sequence[str]) -> list[str]:
    """The command line that runs a command in a chroot, with names and certificates of the host."""
    files = ["/etc/hosts", "/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt"]
    return [*OWN_MOUNTS, "sh", "-c", ENTER, "enter", str(root), *files, *shared, "--", *command]


def make(release: str, root: Path, log: Path) -> None:
    """Make the chroot with debootstrap and install PACKAGES, without starting any service."""
    log.write_text("")
    require_debootstrap(log)
    for leftover in root.parent.glob(f"{root.name}.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # Not the name of a leftover: what a killed process had started may still write to that.
    new = root.with_name(f"{root.name}.new-{os.getpid()}")
    report(f"{release}: making a chroot, once, in a few minutes (log: {log})")
    run(debootstrap(release, new), log)
    configure(new)
    for command in (
        ["apt-get", "update"],
        ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES],
        ["apt-get", "clean"],
    ):
        run(inside(new, ["env", "DEBIAN_FRONTEND=noninteractive", *command], ["/var/tmp"]), log)
    (new / MARKER.relative_to("/")).write_text(f"{release}\n")
    shutil.rmtree(root, ignore_errors=True)
    new.rename(root)


def require_debootstrap(log: Path) -> None:
    """Install debootstrap where apt can; MissingSoftwareError where it is missing without apt."""
    has_debootstrap = shutil.which("debootstrap", path=SYSTEM_PATH) is not None
    if shutil.which("apt-get", path=SYSTEM_PATH) is None:
        if not has_debootstrap:
            raise MissingSoftwareError("--release: debootstrap is not installed: install it")
        return
    if not has_debootstrap or next(debian_mirrors(), None) is None:
        run(["apt-get", "update", "-qq"], log)  # its lists tell which archive is Debian's
    if not has_debootstrap:
        report("installing the Debian package debootstrap")
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap"], log)


def debootstrap(release: str, root: Path) -> list[str]:
    """The command that makes the base system, from the mirror that this machine's apt uses."""
    command = [*OWN_MOUNTS, "debootstrap", "--variant=minbase", "--include=ca-certificates"]
    command += [release, str(root)]
    mirror = next(debian_mirrors(), None)
    # An older debootstrap has no script of a newer release; that of sid fits all of them.
    if not Path("/usr/share/debootstrap/scripts", release).exists():
        return [*command, mirror or "", "/usr/share/debootstrap/scripts/sid"]
    return [*command, *([mirror] if mirror else [])]


def debian_mirrors() -> Iterator[str]:
    """Yield the URIs of Debian's archive in the configuration of apt; none on other systems."""
    if shutil.which("apt-get", path=SYSTEM_PATH) is None:
        return
    targets = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"]
    done = subprocess.run(
        [*targets, "Created-By: Packages"], capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith("Debian Debian "):
            yield line.split()[2]


def configure(root: Path) -> None:
    """Give the chroot apt's way to the network as this machine has it, and forbid it services."""
    if shutil.which("apt-config", path=SYSTEM_PATH):
        dump = ["apt-config", "dump", "Acquire"]
        text = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
        kept = [line for line in text.splitlines() if line.startswith("Acquire::")]
        (root / "etc/apt/apt.conf.d/99host").write_text("\n".join(kept) + "\n")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\n# No service is started in this chroot.\nexit 101\n")
    policy.chmod(0o755)
    for name in ("hosts", "resolv.conf"):
        (root / "etc" / name).unlink(missing_ok=True)
        (root / "etc" / name).touch()


def run(command: Sequence[str], log: Path) -> None:
    """Run a command into the log and report its progress; DevclusterError if it fails."""
    started = time.monotonic()
    environment = os.environ | {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - there are no threads here
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
        )
    try:
        while True:
            try:
                code = child.wait(timeout=REPORT_EVERY)
                break
            except subprocess.TimeoutExpired:
                report(f"  {time.monotonic() - started:.0f} s: {last_lines(log, 1)}")
    except BaseException:  # ^C too must leave no debootstrap behind
        child.kill()
        child.wait()
        raise
    if code != 0:
        raise DevclusterError(
            f"exit code {code} of {command[0]}; the last lines of {log}:\n{last_lines(log, 8)}"
        )


def last_lines(log: Path, count: int) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


def report(text: str) -> None:
    """Print a line of progress to stderr: stdout belongs to the command."""
    print(f"devcluster: {text}", file=sys.stderr, flush=True)
