"""Checks of the Python that the hook starts: SlurmUser can run it, and only root can change it."""

import json
from collections.abc import Iterable
from pathlib import Path

from slurm_restart import __version__
from slurm_restart.control.checks.context import Context, NotKnownError
from slurm_restart.control.checks.hook_file import HookFile, the_hook
from slurm_restart.control.checks.path_owners import weak_files, weak_places
from slurm_restart.control.checks.result import Check, Finding, ok, problem
from slurm_restart.control.checks.run_as import last_line, run_as
from slurm_restart.frozen import frozen

_PROBE = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import slurm_restart
print(json.dumps([slurm_restart.__version__, slurm_restart.__file__]))
"""
_SHOWN = 3
"""How many places a message names."""


@frozen
class _Package:
    """The package as the hook's interpreter finds it."""

    version: str
    directory: Path


def _importable(context: Context) -> Iterable[Finding]:
    hook, user = the_hook(context), context.slurm_user
    found = _find_package(context, hook)
    if isinstance(found, _Package):
        yield ok(f"{user.name} (SlurmUser) can run {hook.python} and import slurm_restart with it")
    else:
        yield problem(
            f"{hook.python or 'no interpreter'} cannot import slurm_restart as {user.name} "
            f"(SlurmUser): {found}",
            f"let {user.name} read and enter every directory of the installation (namei -l "
            f"{hook.python}), or csx-restart hook > {hook.path} with the csx-restart to use",
        )


def _find_package(context: Context, hook: HookFile) -> _Package | str:
    """Return the package that the hook would use, or why it cannot be imported."""
    if not hook.python.startswith("/"):
        return "expected an absolute path"
    # As the hook starts it: no environment, and isolated from the user's own packages.
    done = run_as(context.slurm_user, (hook.python, "-I", "-c", _PROBE, *hook.modules))
    try:
        version, file = json.loads(done.stdout) if done.code == 0 else (None, None)
    except ValueError:
        version, file = None, None
    if not isinstance(version, str) or not isinstance(file, str):
        return last_line(done)
    return _Package(version=version, directory=Path(file).parent)


def _the_package(context: Context) -> tuple[HookFile, _Package]:
    hook = the_hook(context)
    package = _find_package(context, hook)
    if isinstance(package, str):
        raise NotKnownError("not checked: the hook cannot import slurm_restart", "see hook.python")
    return hook, package


def _same_version(context: Context) -> Iterable[Finding]:
    hook, package = _the_package(context)
    if package.version == __version__:
        yield ok(f"the hook uses slurm_restart {package.version}")
    else:
        yield problem(
            f"the hook uses slurm_restart {package.version} ({package.directory}), this is "
            f"{__version__}",
            f"csx-restart hook > {hook.path} with the csx-restart to use",
        )


def _owner(context: Context) -> Iterable[Finding]:
    hook, package = _the_package(context)
    trusted = context.trusted
    places = (
        *weak_places(Path(hook.python), trusted),
        *weak_places(package.directory, trusted),
        *weak_files(package.directory, trusted),
    )
    weak = tuple(dict.fromkeys(places))
    if not weak:
        yield ok(f"only root and {context.slurm_user.name} can change the package")
        return
    more = f" and {len(weak) - _SHOWN} more" if len(weak) > _SHOWN else ""
    shown = "; ".join(map(str, weak[:_SHOWN]))
    yield problem(
        f"{shown}{more}, so that others than root and SlurmUser can change what runs as SlurmUser",
        "chown -R root and chmod -R go-w the directory of the installation, or install it where "
        "only root can write",
    )


CHECKS = (
    Check(
        id="hook.python",
        meaning="SlurmUser can run the hook's interpreter and import the package; tried as that "
        "user.",
        run=_importable,
    ),
    Check(
        id="hook.package",
        meaning="The package that the hook imports is of the version of this csx-restart.",
        run=_same_version,
    ),
    Check(
        id="hook.package_owner",
        meaning="Only root and SlurmUser can change the interpreter and the package.",
        run=_owner,
    ),
)
