"""`devcluster up --accounting`: slurmdbd on a MariaDB of the cluster's own, with one account."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

from contrib.devcluster_parts.errors import DevclusterError
from contrib.devcluster_parts.keeper import start_daemon
from contrib.devcluster_parts.software import find_program

if TYPE_CHECKING:
    from collections.abc import Callable

    from contrib.devcluster_parts.cluster import Cluster

PORTS = 2
"""Ports of an accounting cluster after those of its nodes: slurmdbd's, then MariaDB's."""
ACCOUNT = "dev"
USERS = ("games",)
"""Ordinary users of every Debian; they and the user that runs `up` are in the account. Slurm 26.05
finds no association of `nobody`."""

SLURMDBD_CONF = """AuthType=auth/munge
AuthInfo=socket={directory}/run/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user}
LogFile={directory}/log/slurmdbd.log
PidFile={directory}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""
# One statement a line: MariaDB's --init-file. slurmdbd would make the database itself; with client
# library 11.8.9, however, no query succeeds after a first connection to a database that is missing.
GRANTS = """CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY '{password}';
GRANT ALL PRIVILEGES ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';
"""
# Durability is of no use here: the database goes with the cluster.
DATABASE_OPTIONS = (
    "--skip-name-resolve",
    "--bind-address=127.0.0.1",
    "--innodb-buffer-pool-size=32M",
    "--innodb-lock-wait-timeout=900",
    "--innodb-flush-log-at-trx-commit=0",
    "--loose-innodb-snapshot-isolation=OFF",  # slurmdbd ends at a conflict otherwise
)


def slurmdbd_port(cluster: Cluster) -> int:
    """The port of slurmdbd."""
    return cluster.port + cluster.nodes + 1


def settings(cluster: Cluster) -> dict[str, str]:
    """The lines of slurm.conf for accounting with limits that are enforced."""
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "127.0.0.1",
        "AccountingStoragePort": str(slurmdbd_port(cluster)),
        # With munge this is no password but the socket of a munged that is not the machine's.
        "AccountingStoragePass": f"{cluster.directory}/run/munge.sock",
        "AccountingStorageEnforce": "associations,limits,qos",
        # Usage counts towards a limit on used minutes only with this plugin, at each calculation.
        "PriorityType": "priority/multifactor",
        "PriorityCalcPeriod": "1",
    }


def write_files(cluster: Cluster) -> None:
    """Write slurmdbd.conf and what MariaDB executes at its start; only their daemons read them."""
    password = secrets.token_hex(16)
    conf = SLURMDBD_CONF.format(
        directory=cluster.directory,
        port=slurmdbd_port(cluster),
        database_port=slurmdbd_port(cluster) + 1,
        user=daemon_user() or pwd.getpwuid(os.geteuid()).pw_name,
        password=password,
    )
    texts = {"slurmdbd.conf": conf, "grants.sql": GRANTS.format(password=password)}
    for name, text in texts.items():
        path = cluster.directory / "etc" / name
        path.touch(0o600)
        path.write_text(text)
        if user := daemon_user():
            shutil.chown(path, user, user)


def daemon_user() -> str | None:
    """The user that the databases run as, if it is not the present one."""
    return "slurm" if os.geteuid() == 0 else None


def start_database(cluster: Cluster) -> None:
    """Make an empty database and start MariaDB on it, without waiting for it."""
    database = cluster.directory / "database"
    user = daemon_user()
    other: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    with cluster.log("mariadb-install-db").open("wb") as log:
        done = subprocess.run(
            [*install_command(cluster), f"--datadir={database}"],
            cwd=database,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
            **other,
        )
    if done.returncode != 0:
        lines = cluster.log("mariadb-install-db").read_text(errors="replace").splitlines()[-12:]
        raise DevclusterError("\n  ".join(["mariadb-install-db failed:", *lines]))
    program = find_program("mariadbd", cluster.prefix) or "mariadbd"
    run = cluster.directory / "run"
    argv = [program, "--no-defaults", f"--datadir={database}", f"--socket={run}/mariadb.sock"]
    argv += [f"--pid-file={run}/mariadb.pid", f"--port={slurmdbd_port(cluster) + 1}"]
    argv += [tmpdir(cluster), f"--init-file={cluster.directory}/etc/grants.sql", *DATABASE_OPTIONS]
    start_daemon(cluster, "mariadbd", argv, user)


def tmpdir(cluster: Cluster) -> str:
    """The option for a directory of its own: MariaDB removes the temporary tables of others."""
    return f"--tmpdir={cluster.directory}/run"


def install_command(cluster: Cluster) -> list[str]:
    """The program that makes an empty database, without the database's directory."""
    program = find_program("mariadb-install-db", cluster.prefix) or "mariadb-install-db"
    return [program, "--no-defaults", "--skip-name-resolve", "--force", tmpdir(cluster)]


def start_slurmdbd(cluster: Cluster) -> None:
    """Start slurmdbd without waiting for it."""
    program = find_program("slurmdbd", cluster.prefix) or "slurmdbd"
    start_daemon(cluster, "slurmdbd", [program, "-D"], daemon_user())


def listens(port: int) -> Callable[[], bool]:
    """A condition: whether somebody listens on that port of this machine."""

    def accepts() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return accepts


def add_account(cluster: Cluster) -> None:
    """Make the cluster known to slurmdbd, with an account that ordinary users are in."""
    users = sorted({*USERS, pwd.getpwuid(os.geteuid()).pw_name} - {"root"})
    for words in (
        ["cluster", cluster.name],
        ["account", ACCOUNT, f"Cluster={cluster.name}"],
        ["user", ",".join(users), f"Account={ACCOUNT}", f"Cluster={cluster.name}"],
    ):
        cluster.slurm("sacctmgr", "-i", "add", *words)
