"""The parts that run the reconciler: systemd's timer, or cron where there is no systemd."""

import grp
from collections.abc import Iterator
from pathlib import Path

from slurm_restart.control.checks.timer import CRON, SERVICE, TIMER
from slurm_restart.control.hook_script import share
from slurm_restart.control.installation.machine import Machine
from slurm_restart.control.installation.part import Part, State, file_of_root, quote, write_file
from slurm_restart.control.site import Site
from slurm_restart.trainer.site_file import DEFAULT_PATH

_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_WANTED = "/etc/systemd/system/timers.target.wants"
_WHAT = "the sweep that verifies restarts and finds ends that no hook judged"


def sweep(machine: Machine, site: Site) -> Iterator[Part]:
    """Yield the parts that run the reconciler."""
    if not machine.systemd:
        yield cron(machine)
        return
    yield service(machine, site)
    yield timer(machine)


def cron_text(machine: Machine) -> str:
    """Return the file for cron: each minute, which is often enough for MinJobAge=300."""
    user = machine.context.slurm_user.name
    return f"# slurm_restart: {_WHAT}.\n* * * * * {user} {reconcile(machine)} >/dev/null\n"


def reconcile(machine: Machine) -> str:
    """Return the command line of the sweep."""
    return f"{quote(machine.command)} reconcile --site {quote(machine.context.site_path)}"


def cron(machine: Machine) -> Part:
    """Return the part that is a file of cron."""
    path, text, command = machine.at(str(CRON)), cron_text(machine), reconcile(machine)
    return file_of_root(
        f"{_WHAT}, by cron, as there is no systemd (without cron too: run `{machine.command} "
        "reconcile --every 30` as SlurmUser in another way)",
        path,
        part="cron",
        mode=0o644,
        commands=write_file(path, text, 0o644),
        problem=lambda found: None if _runs(machine, found) else f"{path} does not run {command}",
    )


def _runs(machine: Machine, text: str) -> bool:
    """Return whether a file of cron, or a unit, runs this sweep as SlurmUser."""
    user = machine.context.slurm_user.name
    for line in text.splitlines():
        before, found, after = line.partition(" reconcile")
        program = before.removeprefix("ExecStart=").split()[-1:] if found else []
        if not program or line.startswith("#"):
            continue
        site = after.split()[1:2] if "--site" in after else [str(DEFAULT_PATH)]
        as_user = line.startswith("ExecStart=") or before.split()[5:6] == [user]
        if as_user and site == [str(machine.context.site_path)] and _same(program[0], machine):
            return True
    return False


def _same(program: str, machine: Machine) -> bool:
    path = Path(program)
    if not path.exists() or not machine.command.exists():
        return path == machine.command
    return path.samefile(machine.command)


def service(machine: Machine, site: Site) -> Part:
    """Return the part that is the service; settings of its own for this site are a drop-in."""
    unit = _find(machine, SERVICE)
    lines = service_lines(machine, site)
    what = f"{_WHAT}: its service, as SlurmUser"
    if unit is None:
        target = machine.at(_UNITS[0]) / SERVICE
        return Part(
            id="service",
            what=what,
            path=target,
            owner="root",
            mode=0o644,
            state=State.MISSING,
            found=f"there is no {SERVICE}",
            commands=(
                *write_file(target, _unit_text(SERVICE, lines), 0o644),
                *write_file(target.parent / TIMER, (share("systemd") / TIMER).read_text(), 0o644),
                "systemctl daemon-reload",
            ),
        )
    drop_in = machine.at(_UNITS[0]) / f"{SERVICE}.d" / "site.conf"
    there = _effective(unit, drop_in.parent)
    runs = _runs(machine, "\n".join(there))
    missing = [
        line for line in lines if line not in there and not (runs and line.startswith("ExecStart="))
    ]
    text = "[Service]\n" + "".join(
        ("ExecStart=\n" if line.startswith("ExecStart=") else "") + f"{line}\n" for line in missing
    )
    return Part(
        id="service",
        what=what,
        path=unit,
        owner="root",
        mode=0o644,
        state=State.DIFFERS if missing else State.PRESENT,
        found=f"{unit} lacks {missing[0]}" if missing else str(unit),
        commands=(*write_file(drop_in, text, 0o644), "systemctl daemon-reload") if missing else (),
    )


def service_lines(machine: Machine, site: Site) -> tuple[str, ...]:
    """Return the lines of the service that depend on this site."""
    user = machine.context.slurm_user.name
    own = Path("/var/lib/slurm_restart")
    wanted = [path for path in (site.state_dir, site.export_dir) if path not in (None, own)]
    return (
        f"User={user}",
        f"Group={grp.getgrgid(machine.context.slurm_user.gid).gr_name}",
        f"ExecStart={reconcile(machine)}",
        *(f"ReadWritePaths=-{path}" for path in wanted),
    )


def _unit_text(name: str, lines: tuple[str, ...]) -> str:
    """Return the text of the service with these lines in place of those of the same names."""
    names = {line.partition("=")[0] for line in lines}
    kept = []
    for line in (share("systemd") / name).read_text().splitlines():
        if line.partition("=")[0] not in names:
            kept.append(line)
        elif line.startswith("ExecStart="):
            kept += lines
    return "\n".join(kept) + "\n"


def _effective(unit: Path, drop_ins: Path) -> frozenset[str]:
    """Return the lines of a unit and of its drop-ins."""
    files = [unit, *sorted(drop_ins.glob("*.conf"))]
    return frozenset(line.strip() for file in files for line in file.read_text().splitlines())


def _find(machine: Machine, name: str) -> Path | None:
    paths = (machine.at(folder) / name for folder in _UNITS)
    return next((path for path in paths if path.is_file()), None)


def timer(machine: Machine) -> Part:
    """Return the part that is the timer, enabled."""
    link = machine.at(_WANTED) / TIMER
    enabled = link.is_symlink() or link.exists()
    return Part(
        id="timer",
        what="the timer of the sweep, every 30 s",
        path=link,
        state=State.PRESENT if enabled else State.MISSING,
        found=f"{TIMER} is enabled" if enabled else f"{TIMER} is not enabled",
        commands=() if enabled else (f"systemctl enable --now {TIMER}",),
    )
