"""Checks of the directories that the controller writes: the state, and the exported copies."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.owner_findings import owner_findings
from slurm_restart.control.checks.path_owners import files_below, user_name
from slurm_restart.control.checks.result import Check, Finding, ok, problem, warning
from slurm_restart.control.checks.run_as import Account, not_accessible

_SHOWN = 3
"""How many files a message names."""
_MIB = 1 << 20
_LEAST = 16
"""MiB. A journal is at most a few MiB."""
_LOW = 256
"""MiB."""
_FOR_ALL = stat.S_IROTH | stat.S_IXOTH


def _directory(context: Context) -> Iterable[Finding]:
    path, user = context.site.state_dir, context.slurm_user
    make = f"install -d -m 700 -o {user.name} {path}"
    try:
        status = path.stat()
    except FileNotFoundError:
        yield problem(f"the state directory {path} does not exist", make)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield problem(f"{path} is no directory", f"remove it, then {make}")
    elif status.st_uid != user.uid:
        owner = user_name(status.st_uid)
        text = f"the state directory {path} belongs to {owner}, not to SlurmUser ({user.name})"
        yield problem(text, make)
    elif status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield problem(f"the state directory {path} is accessible to others", f"chmod 700 {path}")
    elif not_accessible(user, "-w", str(path)):
        yield problem(
            f"{user.name} (SlurmUser) cannot write {path}",
            f"mount it writable, and let {user.name} enter every directory of its path (namei -l "
            f"{path})",
        )
    else:
        yield ok(f"{path} belongs to {user.name} alone")


def _above(context: Context) -> Iterable[Finding]:
    yield from owner_findings(context.site.state_dir, context, "the state directory")


def _files(context: Context) -> Iterable[Finding]:
    path, user = context.site.state_dir, context.slurm_user
    yield from _foreign_files(path, user)


def _foreign_files(path: Path, user: Account) -> Iterable[Finding]:
    """Return a problem if something below a directory belongs to another than SlurmUser."""
    owners = [(file, _owner(file)) for file in files_below(path)]
    foreign = [f"{file} ({user_name(uid)})" for file, uid in owners if uid not in (None, user.uid)]
    if not foreign:
        yield ok(f"all {len(owners)} files below {path} belong to {user.name}")
        return
    more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
    yield problem(
        f"{', '.join(foreign[:_SHOWN])}{more}: {user.name} (SlurmUser) may be unable to write what "
        "belongs to another user",
        f"chown -hR {user.name} {path}",
    )


def _owner(file: Path) -> int | None:
    try:
        return file.lstat().st_uid
    except FileNotFoundError:
        return None  # removed by the hook or a sweep meanwhile


def _space(context: Context) -> Iterable[Finding]:
    path = context.site.state_dir
    disk = os.statvfs(path)
    free = disk.f_bavail * disk.f_frsize // _MIB
    # A file system without a limit of inodes, such as btrfs, shows 0 of 0.
    if free < _LEAST or (disk.f_files and not disk.f_favail):
        left = f"{free} MiB and {disk.f_favail} inodes"
        yield problem(
            f"the file system of {path} is full ({left} left): no journal can be written, and "
            "failed jobs are not judged",
            f"make room on the file system of {path} (df {path}; df -i {path})",
        )
    elif free < _LOW:
        yield warning(
            f"the file system of {path} has only {free} MiB left",
            f"make room on the file system of {path} (df {path})",
        )
    else:
        yield ok(f"the file system of {path} has {free} MiB left")


def _export(context: Context) -> Iterable[Finding]:
    path, user = context.site.export_dir, context.slurm_user
    if path is None:
        yield ok("export_dir is not set: `explain` shows other users only what their runs wrote")
        return
    make = f"install -d -m 755 -o {user.name} {path}"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        yield problem(f"export_dir {path} does not exist", make)
        return
    if not stat.S_ISDIR(mode):
        yield problem(f"export_dir {path} is no directory", f"remove it, then {make}")
    elif not_accessible(user, "-w", str(path)):
        yield problem(f"{user.name} (SlurmUser) cannot write export_dir {path}", make)
    elif closed := [place for place in (path, *path.parents) if not _open_to_all(place)]:
        yield warning(
            f"not everybody can read export_dir {path}: {closed[0]} is closed to others, so "
            "`explain` on login nodes finds nothing there",
            f"chmod o+rx {closed[0]}",
        )
    else:
        yield ok(f"{user.name} can write export_dir {path}, and everybody can read it")


def _open_to_all(place: Path) -> bool:
    return place.stat().st_mode & _FOR_ALL == _FOR_ALL


def _export_owner(context: Context) -> Iterable[Finding]:
    path = context.site.export_dir
    if path is None:
        return
    yield from owner_findings(path, context, "the exported copies")
    yield from _foreign_files(path, context.slurm_user)


def _export_private(context: Context) -> Iterable[Finding]:
    path = context.site.export_dir
    if path is None:
        return
    hidden = sorted({"jobs", "nodes"} & set(context.options("PrivateData")))
    if not hidden or not path.is_dir() or not all(map(_open_to_all, (path, *path.parents))):
        yield ok("the exported copies show nobody what PrivateData hides")
        return
    yield warning(
        f"everybody can read {path}, while PrivateData={','.join(hidden)} hides {hidden[0]} of "
        "others from users",
        f"remove export_dir from {context.site_path}, or chmod 700 {path}: users then see their "
        "runs by their run directories",
    )


CHECKS = (
    Check(
        id="state.directory",
        meaning="The state directory exists, is SlurmUser's, and is closed to all others.",
        run=_directory,
    ),
    Check(
        id="state.path",
        meaning="Only root and SlurmUser can replace the state directory.",
        run=_above,
    ),
    Check(
        id="state.files",
        meaning="Everything in the state directory is SlurmUser's, nothing root's.",
        run=_files,
    ),
    Check(
        id="state.space",
        meaning="The state directory's file system has space and inodes left.",
        run=_space,
    ),
    Check(
        id="export.directory",
        meaning="SlurmUser can write `export_dir`, and everybody can read it.",
        run=_export,
    ),
    Check(
        id="export.private",
        meaning="The exported copies do not show everybody what PrivateData hides.",
        run=_export_private,
    ),
    Check(
        id="export.owner",
        meaning="Only root and SlurmUser can replace `export_dir`; its files are SlurmUser's.",
        run=_export_owner,
    ),
)
