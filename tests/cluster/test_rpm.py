"""The RPM: built from the spec on this machine, and its files.

Fedora's macros for Python and systemd are no part of Debian's rpm: plain commands stand for them.
"""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from contrib.testing.waiting import LONG_DEADLINE
from slurm_restart import __version__

TOP = Path(__file__).parents[2]
SPEC = TOP / "contrib" / "slurm-restart.spec"
NAME = f"slurm_restart-{__version__}"
LEFT_OUT = {".git", ".venv", "dist", "build", "htmlcov"}
_MODULES = f"usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
_UNPACK = f"mkdir -p %{{buildroot}}/{_MODULES} && %{{python3}} -m zipfile -e wheels/*.whl"
_FILES = f"find {_MODULES} -type f | sed 's|^|/|'"
MACROS = (
    "%_unitdir /usr/lib/systemd/system",
    "%systemd_preun() :",
    "%pyproject_files %{_builddir}/pyproject-files",
    "%pyproject_buildrequires(R) :",
    "%pyproject_wheel %{python3} -m pip wheel -q --no-deps -w wheels .",
    f"%pyproject_install {_UNPACK} %{{buildroot}}/{_MODULES}",
    f"%pyproject_save_files() (cd %{{buildroot}} && {_FILES}) > %{{pyproject_files}}",
)

pytestmark = pytest.mark.skipif(shutil.which("rpmbuild") is None, reason="rpmbuild: not installed")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built package."""
    top = tmp_path_factory.mktemp("rpm")
    (top / "SOURCES").mkdir()
    with tarfile.open(top / "SOURCES" / f"{NAME}.tar.gz", "w:gz", compresslevel=1) as archive:
        for path in sorted(TOP.iterdir()):
            if path.name not in LEFT_OUT and not path.name.startswith(".venv"):
                archive.add(path, f"{NAME}/{path.name}", filter=_source)
    macros = top / "macros"
    macros.write_text("\n".join((f"%python3 {sys.executable}", *MACROS, "")))
    define = ("--define", f"_topdir {top}", "--define", f"_dbpath {top}/database")
    done = subprocess.run(
        ["rpmbuild", "-bb", "--nodeps", "--load", str(macros), *define, str(SPEC)],
        capture_output=True,
        text=True,
        timeout=LONG_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [built] = top.glob("RPMS/noarch/*.rpm")
    return built


def _source(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith(".pyc") else member


def query(package: Path, *options: str) -> list[str]:
    command = ["rpm", "-qp", "--dbpath", str(package.parent / "database"), *options, str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_files(package: Path) -> None:
    # Debian's rpm leaves manual pages as they are.
    files = [name.removesuffix(".gz") for name in query(package, "-l")]
    for name in (
        "/usr/bin/csx-restart",
        "/usr/bin/csx-sbatch",
        "/usr/lib/systemd/system/slurm-restart-reconcile.service",
        "/usr/lib/systemd/system/slurm-restart-reconcile.timer",
        "/usr/share/bash-completion/completions/csx-sbatch",
        "/usr/share/fish/vendor_completions.d/csx-restart.fish",
        "/usr/share/man/man1/csx-sbatch.1",
        "/usr/share/man/man5/slurm_restart.5",
        "/usr/share/man/man8/csx-restart-admin.8",
        "/usr/share/zsh/site-functions/_csx-restart",
    ):
        assert name in files
    modules = [name for name in files if name.endswith("/slurm_restart/cli/restart.py")]
    assert len(modules) == 1
    allowed = re.compile(
        r"/usr/(bin|lib/(python3\.\d+/site-packages/slurm_restart|systemd/system)"
        r"|share/(bash-completion|doc|fish|licenses|man|zsh))[/-]"
    )
    assert not [name for name in files if not allowed.match(name)]


def test_what_it_is_and_needs(package: Path) -> None:
    assert query(package, "--queryformat", "%{VERSION} %{LICENSE} %{ARCH}") == [
        f"{__version__} Apache-2.0 noarch"
    ]
    needs = query(package, "--requires")
    assert {"python3 >= 3.11", "python3-click >= 8.1", "python3-clustershell"} <= set(needs)
    assert any(line.startswith("python3-jinja2") for line in query(package, "--recommends"))


def test_the_commands_take_no_modules_of_the_user(package: Path) -> None:
    subprocess.run(["rpm2archive", str(package)], check=True)
    with tarfile.open(f"{package}.tgz") as archive:
        command = archive.extractfile("./usr/bin/csx-restart")
        assert command is not None
        assert command.readline() == b"#!/usr/bin/python3 -s\n"
