"""The options and arguments of devcluster's commands, and how their values are parsed."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrib.devcluster_parts.faults import FAULTS, Fault

if TYPE_CHECKING:
    from collections.abc import Callable


def absolute(text: str) -> Path:
    """A path without symlinks: /proc, where a cluster's sockets are looked up, shows none."""
    return Path(os.path.realpath(text))


def key_value(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"(\w+)=([^\n]*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=VALUE")
    return match[1], match[2]


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            expected = f"expected a whole number from {lowest} to {highest}"
            raise argparse.ArgumentTypeError(f"{text!r}: {expected}")
        return int(text)

    return number


def add_up(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--nodes", metavar="N", type=whole(1, 999), default=6, help="nodes (default 6)")
    add("--cpus", metavar="C", type=whole(1, 999), default=2, help="CPUs a node (default 2)")
    help_ = "generic resources `gpu` a node, without devices (default 0)"
    add("--gpus", metavar="G", type=whole(0, 64), default=0, help=help_)
    help_ = "EpilogSlurmctld: absolute path of an executable file"
    add("--epilog", metavar="PATH", type=Path, help=help_)
    help_ = "add a partition `high` that preempts `main` in this way"
    add("--preempt", choices=("REQUEUE", "CANCEL"), help=help_)
    help_ = "GraceTime of what is preempted"
    add("--grace", metavar="SECONDS", type=whole(0, 86400), default=0, help=help_)
    many: dict[str, Any] = {"action": "append", "default": []}
    help_ = "a line of slurm.conf, in place of devcluster's; an empty value removes it; repeatable"
    add("--set", metavar="KEY=VALUE", type=key_value, help=help_, **many)
    help_ = "the same for every partition; repeatable"
    add("--partition-set", metavar="KEY=VALUE", type=key_value, help=help_, **many)
    help_ = "the same for every node; repeatable"
    add("--node-set", metavar="KEY=VALUE", type=key_value, help=help_, **many)
    help_ = "a line for the end of slurm.conf; repeatable"
    add("--extra-line", metavar="LINE", help=help_, **many)
    help_ = "use the Slurm in DIR/bin and DIR/sbin instead of the one in PATH"
    add("--prefix", metavar="DIR", type=lambda text: str(absolute(text)), help=help_)
    help_ = "limit the memory of jobs (cgroup v1, as root): what uses more ends as OUT_OF_MEMORY"
    add("--memory-limits", action="store_true", help=help_)
    help_ = "with slurmdbd and MariaDB: associations, QOS and limits are enforced"
    add("--accounting", action="store_true", help=help_)
    help_ = "insist on a cluster without root: refused when run by root"
    add("--rootless", action="store_true", help=help_)
    help_ = "longest wait for slurmctld, and then for the nodes (default 60)"
    add("--timeout", metavar="SECONDS", type=whole(1, 3600), default=60, help=help_)
    help_ = "take the cluster down when that process ends, however it does"
    add("--until-exit-of", metavar="PID", type=whole(1, 1 << 22), help=help_)


def add_down(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--purge", action="store_true", help="remove DIR, too, with its logs")


def add_run(parser: argparse.ArgumentParser) -> None:
    help_ = "take the cluster down when the command has ended"
    parser.usage = "devcluster run [--down] DIR -- COMMAND …"
    parser.add_argument("--down", action="store_true", help=help_)


def add_status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")


def add_keep(parser: argparse.ArgumentParser) -> None:
    for name in ("--ports", "--guard", "--until-exit-of"):
        parser.add_argument(name, type=int)


def add_fault(parser: argparse.ArgumentParser) -> None:
    faults = parser.add_subparsers(dest="fault", required=True, metavar="FAULT")
    for name, fault in FAULTS.items():
        add_fault_arguments(faults.add_parser(name, help=fault.help, description=fault.help), fault)


def add_fault_arguments(parser: argparse.ArgumentParser, fault: Fault) -> None:
    add = parser.add_argument
    if "node" in fault.arguments:
        add("node", metavar="NODE")
    if "job" in fault.arguments:
        add("job", metavar="JOBID", nargs="?", type=whole(1, 1 << 26), help="only this job's")
    if "reason" in fault.arguments:
        add("reason", metavar="REASON", nargs="?", default="devcluster")
    if "seconds" in fault.arguments:
        add("seconds", metavar="SECONDS", type=whole(0, 86400))
    if fault.step:
        help_ = f"batch, extern, srun (all numbered ones), a number, or all (default {fault.step})"
        add("--step", metavar="STEP", default=fault.step, help=help_)
