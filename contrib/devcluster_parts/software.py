"""Where Slurm's and munge's programs are, which release they are, and what to install."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess

from contrib.devcluster_parts.errors import DevclusterError, MissingSoftwareError

# Debian's package of each program that a cluster and its clients need.
PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "scancel": "slurm-client",
    "scontrol": "slurm-client",
    "sinfo": "slurm-client",
    "squeue": "slurm-client",
    "srun": "slurm-client",
}
ACCOUNTING_PACKAGES = {
    "sacctmgr": "slurm-client",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",  # mariadb-install-db calls it
}
"""The same for a cluster with accounting."""
SYSTEM_PROGRAMS = {"munged", "mariadbd", "mariadb-install-db", "my_print_defaults"}
"""What is no part of Slurm."""


def find_program(name: str, prefix: str | None) -> str | None:
    """The path of a program; with a prefix, Slurm's are looked for there and nowhere else."""
    if prefix and name not in SYSTEM_PROGRAMS:
        return shutil.which(name, path=f"{prefix}/bin:{prefix}/sbin")
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def require_programs(prefix: str | None, *, accounting: bool = False) -> None:
    """Check that all is installed; MissingSoftwareError with all that is not, and the remedy."""
    needed = PACKAGES | (ACCOUNTING_PACKAGES if accounting else {})
    missing = [name for name in needed if find_program(name, prefix) is None]
    if missing:
        lines = [f"not installed: {', '.join(missing)}"]
        if prefix:
            lines.append(f"Slurm's programs were looked for in {prefix}/bin and {prefix}/sbin")
        packages = sorted(
            {needed[name] for name in missing if not prefix or name in SYSTEM_PROGRAMS}
        )
        if packages:
            lines.append(f"remedy: apt-get install --no-install-recommends {' '.join(packages)}")
        raise MissingSoftwareError("\n  ".join(lines))
    if os.geteuid() == 0:
        require_slurm_user()


def require_slurm_user() -> None:
    """Check that there is the user that slurmctld runs as in a cluster run by root."""
    try:
        pwd.getpwnam("slurm")
    except KeyError:
        raise MissingSoftwareError(
            "there is no user slurm, which a cluster run by root needs\n"
            "  remedy: useradd --system slurm, or run this as an ordinary user"
        ) from None


def slurm_release(prefix: str | None) -> str:
    """The release that `slurmctld -V` names (`22.05.8`)."""
    program = find_program("slurmctld", prefix) or "slurmctld"
    done = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
    match = re.search(r"\d+\.\d+\S*", done.stdout)
    if not match:
        raise DevclusterError(f"{program} -V: no release in its answer: {done.stdout!r}")
    return match[0]


def require_multiple_slurmd(config: str) -> None:
    """Check in what `scontrol show config` printed that one machine may run several slurmds.

    A Slurm that is built without this knows the address of the first node only: a node that it
    reaches through another stays COMPLETING for good.
    """
    if not re.search(r"^MULTIPLE_SLURMD\s*= yes$", config, re.MULTILINE | re.IGNORECASE):
        raise MissingSoftwareError(
            "this Slurm cannot run several slurmds on one machine\n"
            "  remedy: configure it with --enable-multiple-slurmd, or --nodes 1"
        )
