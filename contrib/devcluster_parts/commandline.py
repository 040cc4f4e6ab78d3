"""The command line of devcluster."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from contrib.devcluster_parts import boot, keeper
from contrib.devcluster_parts.cluster import Cluster
from contrib.devcluster_parts.errors import (
    EXIT_FAILED,
    DevclusterError,
    InterruptedBySignalError,
    UsageError,
    ignore_signals,
    say,
)
from contrib.devcluster_parts.faults import FAULTS, Fault
from contrib.devcluster_parts.status import cluster_status, status_lines

if TYPE_CHECKING:
    from collections.abc import Callable

# --- commands ------------------------------------------------------------------------------------


def command_up(options: argparse.Namespace) -> int:
    cluster = boot.up(options, Path(sys.argv[0]).resolve())
    directory = shlex.quote(str(cluster.directory))
    program = shlex.quote(sys.argv[0])
    say(f'to use it:        eval "$({program} env {directory})"')
    say(f"to take it down:  {program} down {directory}")
    return 0


def command_down(options: argparse.Namespace) -> int:
    try:
        cluster = Cluster.load(options.directory)
    except DevclusterError as error:
        say(f"{error}; nothing to take down")
        return 0
    ended = cluster.tear_down()
    say(f"{options.directory}: {f'{ended} processes ended' if ended else 'nothing was running'}")
    if options.purge:
        shutil.rmtree(options.directory)
    return 0


def command_env(options: argparse.Namespace) -> int:
    cluster = Cluster.load(options.directory)
    for key, value in cluster.client_environment().items():
        print(f"export {key}={shlex.quote(value)}")
    return 0


def command_run(options: argparse.Namespace) -> int:
    cluster = Cluster.load(options.directory)
    if not options.command:
        raise UsageError("run: expected: devcluster run [--down] DIR -- COMMAND …")
    environment = os.environ | cluster.client_environment()
    try:
        if not options.down:
            os.execvpe(options.command[0], options.command, environment)
        return wait_for(subprocess.Popen(options.command, env=environment))
    except OSError as error:
        raise DevclusterError(f"{options.command[0]}: {error.strerror}") from error
    finally:
        ignore_signals()
        cluster.tear_down()


def wait_for(child: subprocess.Popen[bytes]) -> int:
    """The command's exit code; a signal that is to end us is passed on and waited for."""
    while True:
        try:
            code = child.wait()
        except InterruptedBySignalError as interruption:
            child.send_signal(interruption.number)
        else:
            return 128 - code if code < 0 else code


def command_status(options: argparse.Namespace) -> int:
    status = cluster_status(Cluster.load(options.directory))
    print(json.dumps(status, indent=2) if options.json else "\n".join(status_lines(status)))
    return 0 if status["keeper"]["state"] == "alive" else EXIT_FAILED


def command_fault(options: argparse.Namespace) -> int:
    cluster = Cluster.load(options.directory)
    node = getattr(options, "node", None)
    if node is not None and node not in cluster.node_names:
        raise UsageError(f"{node}: no such node; there are csx1 to csx{cluster.nodes}")
    say(FAULTS[options.fault].act(cluster, options))
    return 0


# --- command line --------------------------------------------------------------------------------


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
    help_ = "a line for the end of slurm.conf; repeatable"
    add("--extra-line", metavar="LINE", help=help_, **many)
    help_ = "use the Slurm in DIR/bin and DIR/sbin instead of the one in PATH"
    add("--prefix", metavar="DIR", type=lambda text: str(absolute(text)), help=help_)
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


DESCRIPTION = """Boots, breaks and takes down a real Slurm cluster of many nodes on this one
machine."""

UP_DESCRIPTION = """Boots munged, slurmctld and N slurmds (csx1 … csxN) and returns when all nodes
are idle. Run by root: SlurmUser=slurm, and any user may submit. Run by anybody else: all of it runs
as that user. The scheduler keeps Slurm's own defaults; dead nodes are noticed early
(SlurmdTimeout=10). What an earlier cluster left in DIR is removed. If it fails or is interrupted,
nothing is left running."""

COMMANDS: dict[str, tuple[Any, Any, str, str | None]] = {
    "up": (command_up, add_up, "boot a cluster in DIR", UP_DESCRIPTION),
    "down": (command_down, add_down, "end everything that belongs to the cluster in DIR", None),
    "env": (command_env, None, "print the exports that a client of the cluster needs", None),
    "run": (command_run, add_run, "run a command as a client of the cluster", None),
    "status": (command_status, add_status, "print which daemons and steps are alive", None),
    "fault": (command_fault, add_fault, "break something in the cluster, or mend it", None),
    "keep": (keeper.keep, add_keep, "be the cluster's keeper (started by up)", None),
}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="devcluster",
        description=DESCRIPTION,
        epilog="Exit codes: 0 done; 1 failed; 2 wrong usage; 3 Slurm or munge is not installed; "
        "128+N ended by signal N, after taking down what was started.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (function, add, help_, description) in COMMANDS.items():
        command = commands.add_parser(name, help=help_, description=description or help_)
        command.set_defaults(function=function)
        command.add_argument("directory", metavar="DIR", type=absolute)
        if add:
            add(command)
    after: list[str] = []
    if arguments[:1] == ["run"] and "--" in arguments:
        cut = arguments.index("--")
        arguments, after = arguments[:cut], arguments[cut + 1 :]
    return parser.parse_args(arguments, argparse.Namespace(command=after))


def interrupt(number: int, _: object) -> NoReturn:
    raise InterruptedBySignalError(number)


def main() -> int:
    options = parse(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        result: int = options.function(options)
        sys.stdout.flush()
    except (DevclusterError, InterruptedBySignalError) as error:
        print(f"devcluster: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        print(f"devcluster: {error}", file=sys.stderr)
        return EXIT_FAILED
    return result
