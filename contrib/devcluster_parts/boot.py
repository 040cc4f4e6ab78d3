"""`devcluster up`: check what can be checked, start the daemons, wait for the nodes."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from contrib.devcluster_parts import accounting
from contrib.devcluster_parts.cluster import Cluster
from contrib.devcluster_parts.config import SUBDIRECTORIES, write_files
from contrib.devcluster_parts.errors import DevclusterError, UsageError, poll, say
from contrib.devcluster_parts.keeper import new_keeper, start_daemon
from contrib.devcluster_parts.release import current_release
from contrib.devcluster_parts.software import (
    find_program,
    require_multiple_slurmd,
    require_programs,
    slurm_release,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

# sun_path holds 108 bytes; the longest socket is a slurmstepd's.
LONGEST_DIR = 107 - len("/spool/csx100/csx100_99999999.4294967291")


def up(options: argparse.Namespace, script: Path) -> Cluster:
    """Boot the cluster that the options describe; nothing of it is left if that fails."""
    check_options(options)
    require_programs(options.prefix, accounting=options.accounting)
    directory: Path = options.directory
    prepare_directory(directory)
    ports = options.nodes + 1 + (accounting.PORTS if options.accounting else 0)
    with new_keeper(directory, ports, options.until_exit_of, script) as port:
        clear_directory(directory)
        name = next((value for key, value in options.set if key.lower() == "clustername"), None)
        cluster = Cluster(
            directory=directory,
            name=name or f"dev{secrets.token_hex(4)}",
            name_is_unique=not name,
            nodes=options.nodes,
            port=port,
            release=slurm_release(options.prefix),
            prefix=options.prefix,
            accounting=options.accounting,
            debian=current_release(),
        )
        cluster.save()
        boot(cluster, options)
    return cluster


def boot(cluster: Cluster, options: argparse.Namespace) -> None:
    """Write the configuration, start everything, wait until all nodes are idle."""
    started = time.monotonic()

    def step(text: str) -> None:
        say(f"{text} ({time.monotonic() - started:.1f} s)")

    write_files(cluster, options)
    step(f"Slurm {cluster.release}, ports {cluster.port}-{cluster.port + cluster.nodes}")
    start_munged(cluster)
    step("munged answers")
    if cluster.accounting:
        start_accounting(cluster, options.timeout)
        step("slurmdbd answers")
    start_slurmctld(cluster, options.timeout)
    step("slurmctld answers")
    if cluster.nodes > 1:
        require_multiple_slurmd(cluster.slurm("scontrol", "show", "config"))
    for node in cluster.node_names:
        start_slurmd(cluster, node)
    step(f"{cluster.nodes} slurmds started")
    try:
        poll("all nodes idle", lambda: all_idle(cluster), options.timeout)
    except DevclusterError as error:
        raise DevclusterError(f"{error}\n  logs: {cluster.directory}/log") from error
    step(f"{cluster.nodes} nodes idle")


def check_options(options: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is made or started."""
    if options.rootless and os.geteuid() == 0:
        raise UsageError("--rootless: run devcluster as an ordinary user, not as root")
    if options.epilog:
        check_epilog(options.epilog)
    if options.grace and not options.preempt:
        raise UsageError("--grace: only with --preempt")
    for key, _ in options.set:
        if key.lower() in ("nodename", "partitionname"):
            raise UsageError(f"--set {key}: use --extra-line for a whole line")


def check_epilog(path: Path) -> None:
    """Check the hook: slurmctld never runs one that it could not run when it started."""
    if not path.is_absolute():
        raise UsageError(f"--epilog {path}: expected an absolute path")
    if not path.is_file() or not os.access(path, os.X_OK):
        raise UsageError(f"--epilog {path}: expected an executable file")
    if os.geteuid() == 0:
        test = ["test", "-x", str(path)]
        done = subprocess.run(test, user="slurm", group="slurm", extra_groups=[], check=False)
        if done.returncode != 0:
            raise UsageError(
                f"--epilog {path}: the user slurm, who is to run it, may not: "
                "see the modes of the directories above it"
            )


def prepare_directory(directory: Path) -> None:
    """Make the directory that the cluster is to live in; UsageError if it cannot."""
    if len(os.fsencode(directory)) > LONGEST_DIR:
        raise UsageError(f"{directory}: longer than {LONGEST_DIR} bytes: no room for unix sockets")
    if re.search(r"[\s'\"#%\\,=]", str(directory)):
        raise UsageError(f"{directory}: a character in it has a meaning in slurm.conf")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if any(directory.iterdir()) and not (directory / "keeper.lock").exists():
            raise UsageError(f"{directory}: not empty, and no cluster's: name another directory")
    if os.geteuid() == 0:
        check_reachable(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror}") from error


def check_reachable(directory: Path) -> None:
    """Check that the user slurm and those who submit will be able to get to the directory."""
    for parent in directory.parents:
        if parent.is_dir() and not parent.stat().st_mode & 0o001:
            raise UsageError(
                f"{parent}: other users may not pass through it (no o+x), so the user slurm and "
                f"those who submit would not reach {directory}"
            )


def clear_directory(directory: Path) -> None:
    """Remove what an earlier cluster left, after making sure that it is gone."""
    earlier = None
    with contextlib.suppress(DevclusterError):
        earlier = Cluster.load(directory)
    if earlier and (alive := earlier.strays()):
        raise UsageError(
            f"{directory}: {len(alive)} processes of an earlier cluster are alive; "
            f"first: devcluster down {directory}"
        )
    for name in SUBDIRECTORIES:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(directory / name)


def await_daemon(cluster: Cluster, name: str, ready: Callable[[], bool], timeout: float) -> None:
    """Wait until a daemon is ready; raise its last lines of log as an error if it has ended."""

    def ready_or_ended() -> bool:
        check_alive(cluster, name)
        return ready()

    poll(f"{name} ready (logs: {cluster.directory}/log)", ready_or_ended, timeout)


def check_alive(cluster: Cluster, name: str) -> None:
    """DevclusterError with the last lines of the log of a daemon that has ended."""
    if cluster.recorded(name) is not None:
        return
    lines: list[str] = []
    for path in (cluster.log(name), cluster.log(name).with_suffix(".out")):
        with contextlib.suppress(FileNotFoundError):
            lines = lines or path.read_text(errors="replace").splitlines()[-8:]
    raise DevclusterError("\n  ".join([f"{name} has ended; the last lines of its log:", *lines]))


def start_munged(cluster: Cluster) -> None:
    """Start a munged of the cluster's own, and wait until it accepts connections."""
    run = cluster.directory / "run"
    program = find_program("munged", cluster.prefix) or "munged"
    # --force: where a directory above DIR is writable by a group it is only to warn.
    argv = [program, "--foreground", "--force"]
    argv += [f"--socket={run}/munge.sock", f"--key-file={run}/munge.key"]
    argv += [f"--pid-file={run}/munged.pid", f"--seed-file={run}/munge.seed"]
    start_daemon(cluster, "munged", argv, "slurm" if os.geteuid() == 0 else None)
    await_daemon(cluster, "munged", lambda: accepts(run / "munge.sock"), timeout=180)


def accepts(path: Path) -> bool:
    """Whether somebody listens on that socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def start_accounting(cluster: Cluster, timeout: float) -> None:
    """Start MariaDB and slurmdbd, and add the account."""
    accounting.start_database(cluster)
    port = accounting.slurmdbd_port(cluster)
    await_daemon(cluster, "mariadbd", accounting.listens(port + 1), timeout)
    start_slurmdbd(cluster, timeout)
    accounting.add_account(cluster)


def start_slurmdbd(cluster: Cluster, timeout: float = 300) -> None:
    """Start slurmdbd and wait until it accepts connections."""
    accounting.start_slurmdbd(cluster)
    listens = accounting.listens(accounting.slurmdbd_port(cluster))
    await_daemon(cluster, "slurmdbd", listens, timeout)


def start_slurmctld(cluster: Cluster, timeout: float = 300) -> None:
    """Start slurmctld and wait until it answers."""
    program = find_program("slurmctld", cluster.prefix) or "slurmctld"
    start_daemon(cluster, "slurmctld", [program, "-D", "-f", str(cluster.conf)])
    await_daemon(cluster, "slurmctld", lambda: answers(cluster), timeout)


def answers(cluster: Cluster) -> bool:
    """Whether slurmctld answers a ping."""
    try:
        return " UP" in cluster.slurm("scontrol", "ping")
    except DevclusterError:
        return False


def start_slurmd(cluster: Cluster, node: str) -> None:
    """Start a node's slurmd without waiting for it."""
    program = find_program("slurmd", cluster.prefix) or "slurmd"
    argv = [program, "-D", "-N", node, "-f", str(cluster.conf)]
    start_daemon(cluster, f"slurmd-{node}", argv)


def all_idle(cluster: Cluster) -> bool:
    """Whether every node is idle; DevclusterError if a slurmd has ended."""
    for node in cluster.node_names:
        check_alive(cluster, f"slurmd-{node}")
    try:
        states = cluster.node_states()
    except DevclusterError:
        return False
    return all(states.get(node) == "idle" for node in cluster.node_names)
