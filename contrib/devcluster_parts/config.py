"""The files that a cluster's daemons read: slurm.conf and its like, the nodes' scripts, the key."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from contrib.devcluster_parts import accounting

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from contrib.devcluster_parts.cluster import Cluster

SUBDIRECTORIES = ("etc", "run", "log", "spool", "state", "flags", "database")
CGROUP_DISABLED_SINCE = (24, 11)
MEMORY_CGROUPS = Path("/sys/fs/cgroup/memory")
NODE_MEMORY = 4096
"""MB that each node has for Slurm, where the memory of jobs is limited."""
MEMORY_LIMITS = """\
CgroupPlugin=cgroup/v1
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
AllowedSwapSpace=0
"""

PROLOG = """#!/bin/sh
# Fails on the nodes that `devcluster fault DIR fail-prolog NODE` has named.
test ! -e '{flags}'/fail-prolog/"$SLURMD_NODENAME"
"""
EPILOG = """#!/bin/sh
# Takes as long on each node as set with `devcluster fault DIR slow-epilog NODE SECONDS`, or until
# `devcluster fault DIR mend-epilog NODE`.
flag='{flags}'/slow-epilog/"$SLURMD_NODENAME"
read -r seconds 2>/dev/null <"$flag" || exit 0
while [ "$seconds" -gt 0 ] && [ -e "$flag" ]; do
    sleep 1
    seconds=$((seconds - 1))
done
exit 0
"""


def short_hostname() -> str:
    """The name that slurmctld and slurmd know this machine by."""
    return socket.gethostname().split(".")[0]


def slurm_conf(cluster: Cluster, options: argparse.Namespace) -> str:
    """The text of slurm.conf for a cluster with the options of `up`."""
    settings = default_settings(cluster)
    if cluster.accounting:
        settings |= accounting.settings(cluster)
    if options.epilog:
        settings["EpilogSlurmctld"] = str(options.epilog)
    if options.preempt:
        settings["PreemptType"] = "preempt/partition_prio"
        settings["PreemptMode"] = options.preempt
    if options.gpus:
        settings["GresTypes"] = "gpu"
    if options.memory_limits:
        settings["TaskPlugin"] = "task/cgroup"
        settings["SelectTypeParameters"] = "CR_CPU_Memory"
    override(settings, options.set)
    lines = [f"{key}={value}" for key, value in settings.items()]
    lines.append(node_line(cluster, options))
    lines += partition_lines(options)
    lines += options.extra_line
    return "\n".join(lines) + "\n"


def default_settings(cluster: Cluster) -> dict[str, str]:
    """slurm.conf without nodes and partitions; the scheduler's own settings are left alone."""
    directory = cluster.directory
    user = pwd.getpwuid(os.geteuid()).pw_name
    return {
        "ClusterName": cluster.name,
        "SlurmctldHost": f"{short_hostname()}(127.0.0.1)",
        "SlurmctldPort": str(cluster.port),
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={directory}/run/munge.sock",
        "SlurmUser": "slurm" if os.geteuid() == 0 else user,
        "SlurmdUser": user,
        "StateSaveLocation": f"{directory}/state",
        "SlurmdSpoolDir": f"{directory}/spool/%n",
        "SlurmctldPidFile": f"{directory}/run/slurmctld.pid",
        "SlurmdPidFile": f"{directory}/run/slurmd-%n.pid",
        "SlurmctldLogFile": str(cluster.log("slurmctld")),
        "SlurmdLogFile": str(cluster.log("slurmd-%n")),
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "MailProg": "/bin/true",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU",
        "SlurmdParameters": "config_overrides",
        "Prolog": f"{directory}/etc/prolog",
        "Epilog": f"{directory}/etc/epilog",
        # A dead node is noticed in half a minute instead of in several.
        "SlurmdTimeout": "10",
        "KillWait": "5",
        "MinJobAge": "300",
        # 2 would bring a node that was set down back within seconds, at its next registration.
        "ReturnToService": "1",
        "JobRequeue": "1",
    }


def override(settings: dict[str, str], changes: Iterable[tuple[str, str]]) -> None:
    """Apply KEY=VALUE pairs; Slurm's keys know no case, and an empty value removes the line."""
    for key, value in changes:
        for present in [old for old in settings if old.lower() == key.lower()]:
            del settings[present]
        if value:
            settings[key] = value


def node_line(cluster: Cluster, options: argparse.Namespace) -> str:
    """All nodes on this machine, each with a port of its own after slurmctld's."""
    first, last = cluster.port + 1, cluster.port + cluster.nodes
    settings = {
        "NodeName": f"csx[1-{cluster.nodes}]" if cluster.nodes > 1 else "csx1",
        "NodeHostname": short_hostname(),
        "NodeAddr": "127.0.0.1",
        "Port": f"{first}-{last}" if cluster.nodes > 1 else str(first),
        "CPUs": str(options.cpus),
        "State": "UNKNOWN",
    }
    if options.gpus:
        settings["Gres"] = f"gpu:{options.gpus}"
    if options.memory_limits:
        settings["RealMemory"] = str(NODE_MEMORY)
    override(settings, options.node_set)
    return " ".join(f"{key}={value}" for key, value in settings.items())


def partition_lines(options: argparse.Namespace) -> list[str]:
    """Partition `main`, and with --preempt `high`, which preempts it."""
    common = {"Nodes": "ALL", "OverSubscribe": "EXCLUSIVE", "MaxTime": "INFINITE", "State": "UP"}
    partitions = {"main": common | {"Default": "YES"}}
    if options.preempt:
        partitions["main"] |= {"PriorityTier": "1", "GraceTime": str(options.grace)}
        partitions["high"] = common | {"PriorityTier": "10"}
    for settings in partitions.values():
        override(settings, options.partition_set)
    return [
        " ".join([f"PartitionName={name}", *(f"{key}={value}" for key, value in settings.items())])
        for name, settings in partitions.items()
    ]


def cgroup_conf(release: str, *, memory_limits: bool) -> str:
    """cgroup.conf: for a cluster that needs none of it, before 24.11 a plugin must be named."""
    if memory_limits:
        return MEMORY_LIMITS
    year, month = (int(part) for part in release.split(".")[:2])
    disabled = (year, month) >= CGROUP_DISABLED_SINCE
    return f"CgroupPlugin={'disabled' if disabled else 'cgroup/v1'}\n"


def write_files(cluster: Cluster, options: argparse.Namespace) -> None:
    """Make the cluster's directories and files, owned as their readers need it."""
    directory = cluster.directory
    for name in SUBDIRECTORIES:
        (directory / name).mkdir()
    for fault in ("fail-prolog", "slow-epilog"):
        (directory / "flags" / fault).mkdir()
    for node in cluster.node_names:
        (directory / "spool" / node).mkdir()
    cluster.conf.write_text(slurm_conf(cluster, options))
    (directory / "etc" / "cgroup.conf").write_text(
        cgroup_conf(cluster.release, memory_limits=options.memory_limits)
    )
    if options.gpus:
        write_gres(cluster, options.gpus)
    write_script(directory / "etc" / "prolog", PROLOG.format(flags=directory / "flags"))
    write_script(directory / "etc" / "epilog", EPILOG.format(flags=directory / "flags"))
    key = directory / "run" / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    if os.geteuid() == 0:
        for name in ("run", "log", "state", "database"):
            shutil.chown(directory / name, "slurm", "slurm")
        shutil.chown(key, "slurm", "slurm")
    if cluster.accounting:
        accounting.write_files(cluster)


def write_gres(cluster: Cluster, gpus: int) -> None:
    """Write gres.conf: empty files stand for devices, as slurmd counts the files that there are."""
    directory = cluster.directory / "etc"
    for number in range(gpus):
        (directory / f"gpu{number}").touch()
    (directory / "gres.conf").write_text(f"Name=gpu File={directory}/gpu[0-{gpus - 1}]\n")


def write_script(path: Path, text: str) -> None:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(0o755)


def remove_cgroups(cluster: Cluster) -> None:
    """Remove the nodes' memory cgroups, which slurmd leaves; those that are in use stay."""
    if (cluster.directory / "etc" / "cgroup.conf").read_text() != MEMORY_LIMITS:
        return
    for node in cluster.node_names:
        top = MEMORY_CGROUPS / f"slurm_{node}"
        for folder in (*sorted(top.glob("**/"), reverse=True), top):
            with contextlib.suppress(OSError):
                folder.rmdir()
