"""The parts that are the package itself, and its commands in the users' PATH."""

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import slurm_restart
from slurm_restart import __version__
from slurm_restart.control.checks.path_owners import weak_files, weak_places
from slurm_restart.control.installation.machine import Machine, source
from slurm_restart.control.installation.part import Part, State, quote

_COMMANDS = ("csx-sbatch", "csx-restart")
_USUAL = (Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin"))
_TARGET = Path(f"/opt/slurm_restart-{__version__}")
_LINK = Path("/opt/slurm_restart")
_FOR_ALL = stat.S_IROTH | stat.S_IXOTH


def package(machine: Machine) -> Part:
    """Return the part that is the package: SlurmUser runs it, so only root may write it."""
    folder, python = Path(slurm_restart.__file__).parent, Path(sys.executable)
    trusted = machine.context.trusted
    weak = (
        *weak_places(python, trusted),
        *weak_places(folder, trusted),
        *weak_files(folder, trusted),
    )
    closed = [place for place in (folder, *folder.parents) if not _open_to_all(place)]
    what = "the package, at the same path on controllers, login nodes and compute nodes"
    if not weak and not closed:
        found = f"slurm_restart {__version__} in {Path(sys.prefix)}"
        return Part(id="package", what=what, path=folder, state=State.PRESENT, found=found)
    why = str(weak[0]) if weak else f"{closed[0]} is closed to other users"
    return Part(
        id="package",
        what=what,
        path=_TARGET,
        state=State.DIFFERS,
        found=f"slurm_restart runs from {Path(sys.prefix)}: {why}",
        commands=(
            f"python3 -m venv {_TARGET}",
            f"{_TARGET}/bin/pip install {quote(source())}",
            f"ln -sfn {_TARGET.name} {_LINK}",
            f"exec {_LINK}/bin/csx-restart install --print    # and go on with what this prints",
        ),
    )


def _open_to_all(place: Path) -> bool:
    return place.stat().st_mode & _FOR_ALL == _FOR_ALL


def commands_in_path(machine: Machine) -> Iterator[Part]:
    """Yield the part that lets users call the commands."""
    folder = machine.command.parent
    target = machine.at("/usr/local/bin")
    absent = [name for name in _COMMANDS if not _is_called(machine, name)]
    place = "a module file (contrib/modulefiles) does the same"
    yield Part(
        id="path",
        what=f"the commands in the users' PATH, on login nodes; {place}",
        path=target,
        state=State.MISSING if absent else State.PRESENT,
        found=f"not in PATH: {', '.join(absent)}" if absent else ", ".join(_COMMANDS),
        commands=tuple(f"ln -sfn {quote(folder / name)} {quote(target / name)}" for name in absent),
    )


def _is_called(machine: Machine, name: str) -> bool:
    """Return whether the command of this installation is the first in the usual PATH."""
    wanted = machine.command.parent / name
    for folder in _USUAL:
        path = machine.at(str(folder)) / name
        if path.exists():
            return path.samefile(wanted) if wanted.exists() else False
    return False
