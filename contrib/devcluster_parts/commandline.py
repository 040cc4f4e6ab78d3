"""The command line of devcluster."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from contrib.devcluster_parts import boot, config, keeper, release
from contrib.devcluster_parts.arguments import (
    absolute,
    add_down,
    add_fault,
    add_keep,
    add_run,
    add_status,
    add_up,
)
from contrib.devcluster_parts.cluster import Cluster
from contrib.devcluster_parts.errors import (
    EXIT_FAILED,
    DevclusterError,
    InterruptedBySignalError,
    UsageError,
    ignore_signals,
    say,
)
from contrib.devcluster_parts.faults import FAULTS
from contrib.devcluster_parts.status import cluster_status, status_lines

# --- commands ------------------------------------------------------------------------------------


def command_up(options: argparse.Namespace) -> int:
    cluster = boot.up(options, Path(sys.argv[0]).resolve())
    directory = shlex.quote(str(cluster.directory))
    program = shlex.quote(sys.argv[0])
    if cluster.debian:
        say(f"to use it:        {program} run {directory} -- COMMAND …")
    else:
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
    config.remove_cgroups(cluster)
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


def command_in_release(options: argparse.Namespace) -> int:
    os.execvp(options.command[0], options.command)


def enter_release(options: argparse.Namespace, arguments: list[str]) -> None:
    """Go on in the chroot of the release that the options or the cluster name, if there is one.

    Returns if this process is to do the work itself: no release is named, or it is inside already.
    """
    wanted = options.release or recorded_release(options)
    current = release.current_release()
    if wanted in {None, current}:
        return
    if current:
        raise UsageError(f"{wanted}: this is a chroot of {current}: run devcluster outside of it")
    directory = getattr(options, "directory", None)
    if directory and not release.in_shared_directory(directory):
        raise UsageError(
            f"{directory}: with --release, expected a directory below /tmp or /var/tmp"
        )
    if options.function is command_env:
        raise UsageError(
            f"{directory}: the commands of this cluster are in a chroot of {wanted}\n"
            f"  remedy: devcluster run {directory} -- COMMAND …"
        )
    script = Path(sys.argv[0]).resolve()
    command = [str(script), *arguments]
    release.enter(wanted, command, checkout=script.parents[1], announce=bool(options.release))


def recorded_release(options: argparse.Namespace) -> str | None:
    """The release whose chroot the cluster of these options was booted in."""
    if options.function in {command_up, command_in_release, keeper.keep}:
        return None
    try:
        return Cluster.load(options.directory).debian
    except DevclusterError:
        return None


# --- command line --------------------------------------------------------------------------------


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
        epilog="Exit codes: 0 done; 1 failed; 2 wrong usage; 3 software is missing, or no chroot "
        "is possible; "
        "128+N ended by signal N, after taking down what was started.",
    )
    help_ = "in a chroot of that Debian release; without COMMAND, -- PROGRAM … is run in it"
    parser.add_argument("--release", choices=release.RELEASES, help=help_)
    parser.set_defaults(function=command_in_release)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (function, add, help_, description) in COMMANDS.items():
        command = commands.add_parser(name, help=help_, description=description or help_)
        command.set_defaults(function=function)
        command.add_argument("directory", metavar="DIR", type=absolute)
        if add:
            add(command)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    after = arguments[cut + 1 :]
    options = parser.parse_args(arguments[:cut], argparse.Namespace(command=after))
    if options.function is command_in_release and not (options.release and after):
        parser.error("expected a COMMAND, or --release RELEASE -- PROGRAM …")
    if after and options.function not in {command_run, command_in_release}:
        parser.error(f"unexpected: -- {shlex.join(after)}")
    return options


def interrupt(number: int, _: object) -> NoReturn:
    raise InterruptedBySignalError(number)


def main() -> int:
    options = parse(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        enter_release(options, sys.argv[1:])
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
