"""The Debian package: built, checked, installed, upgraded, removed; the journal stays."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrib.testing import clean_root
from contrib.testing.clean_root import TOP, CleanRoot, install_packages
from contrib.testing.waiting import LONG_DEADLINE, await_
from slurm_restart import __version__

TOOLS = ("dpkg-buildpackage", "dh", "dh_python3", "lintian", "fakeroot")
CLUSTER = "/srv/cluster"
DEVCLUSTER = f"{TOP}/contrib/devcluster"
JOURNAL = "/var/lib/slurm_restart/journal/c/7-5-0123456789abcdef.jsonl"
WAITS = """\
import pathlib, time
pathlib.Path("/tmp/started").touch()
while not pathlib.Path("/tmp/stop").exists():
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package, and the same with a higher revision."""
    absent = [name for name in TOOLS if shutil.which(name) is None]
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)} (contrib/test installs them as root)")
    output = tmp_path_factory.mktemp("packages")
    done = subprocess.run(
        [str(TOP / "contrib/package"), "deb", "--revision", "1", "--output", str(output)],
        env=os.environ | {"DEBEMAIL": "admin@example.org", "DEBFULLNAME": "A Site"},
        capture_output=True,
        text=True,
        timeout=LONG_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first = Path(done.stdout.strip())
    return first, with_revision(first, "2")


def with_revision(package: Path, revision: str) -> Path:
    """Return a package with the same files and another revision."""
    tree = package.parent / "tree"
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(control.read_text().replace(f"{__version__}-1", f"{__version__}-{revision}"))
    new = package.with_name(package.name.replace("-1_", f"-{revision}_"))
    build = ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(new)]
    subprocess.run(build, check=True, capture_output=True)
    return new


@pytest.fixture
def root(packages: tuple[Path, Path]) -> Iterator[CleanRoot]:
    if (reason := clean_root.missing()) is not None:
        pytest.skip(reason)
    with CleanRoot() as root:
        for package in packages:
            shutil.copy(package, root.path("/tmp"))
        # The index of all manual pages is not looked at here, and takes seconds each time.
        root.path("/var/lib/man-db/auto-update").unlink(missing_ok=True)
        names = ("python3-click", "python3-clustershell", "python3-yaml")
        if (reason := install_packages(root, names)) is not None:
            pytest.skip(f"Debian's packages cannot be fetched: {reason}")
        yield root


def test_lintian_finds_no_error(packages: tuple[Path, Path]) -> None:
    done = subprocess.run(
        ["lintian", "--fail-on", "error,warning", str(packages[0])],
        capture_output=True,
        text=True,
        timeout=LONG_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_install_upgrade_and_remove(root: CleanRoot, packages: tuple[Path, Path]) -> None:
    first, second = (f"/tmp/{package.name}" for package in packages)
    root.run("dpkg", "-i", first)
    assert __version__ in root.run("csx-restart", "--version").stdout
    assert root.run("csx-sbatch", "--version").stdout == f"csx-sbatch {__version__}\n"
    assert "Usage: csx-restart" in root.run("csx-restart", "--help").stdout
    # Without what Debian's package recommends.
    lacks = root.run("csx-sbatch", "--print", "--wrap=true", check=False)
    assert (lacks.returncode, "this installation lacks jinja2" in lacks.stdout) == (1, True)
    listed = root.run("dpkg", "-L", "slurm-restart").stdout.splitlines()
    for name in (
        "/usr/share/man/man1/csx-sbatch.1.gz",
        "/usr/share/man/man5/slurm_restart.5.gz",
        "/usr/share/man/man8/csx-restart-admin.8.gz",
        "/usr/share/bash-completion/completions/csx-restart",
        "/usr/share/fish/vendor_completions.d/csx-sbatch.fish",
        "/usr/share/zsh/vendor-completions/_csx-sbatch",
        "/usr/lib/systemd/system/slurm-restart-reconcile.timer",
    ):
        assert name in listed
    completion = "source /usr/share/bash-completion/completions/csx-sbatch; complete -p csx-sbatch"
    assert "--checkpoint" in root.run("bash", "-c", completion).stdout
    state_that_stays(root)

    refused_while_a_run_is_supervised(root, second)
    root.run("dpkg", "-i", second)
    status = root.run("dpkg-query", "-W", "-f", "${Version} ${Status}", "slurm-restart").stdout
    assert status == f"{__version__}-2 install ok installed"
    assert __version__ in root.run("csx-restart", "--version").stdout

    said = root.run("dpkg", "-r", "slurm-restart").stdout
    assert "remove\nthat line and restart slurmctld" in said.replace("slurm-restart: ", "")
    assert root.run("sh", "-c", "command -v csx-restart", check=False).returncode != 0
    assert not root.path("/usr/lib/python3/dist-packages/slurm_restart").exists()
    root.run("dpkg", "-P", "slurm-restart")
    assert root.path(JOURNAL).read_text() == "{}\n"


def state_that_stays(root: CleanRoot) -> None:
    journal = root.path(JOURNAL)
    journal.parent.mkdir(parents=True)
    journal.write_text("{}\n")
    site = root.path("/etc/slurm_restart/site.toml")
    site.parent.mkdir()
    site.write_text("")
    hook = root.run("csx-restart", "hook").stdout
    assert "PYTHON=/usr/bin/python3\n" in hook
    (site.parent / "csx-epilog").write_text(hook)


def refused_while_a_run_is_supervised(root: CleanRoot, package: str) -> None:
    """Something with the command line of a supervisor: a module of its name that only waits."""
    version = root.run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout
    packages = root.path(f"/usr/local/lib/python{version.strip()}/dist-packages")
    own = packages / "slurm_restart" / "cli"
    own.mkdir(parents=True)
    for folder in (own, own.parent):
        (folder / "__init__.py").touch()
    (own / "restart.py").write_text(WAITS)
    module = ("-m", "slurm_restart.cli.restart")
    command = ("/usr/bin/python3", "-I", *module, "run", "--run-dir", "/x")
    process = subprocess.Popen(root.inside(*command))
    try:
        await_(root.path("/tmp/started").exists, "the process that stands for a supervisor")
        done = root.run("dpkg", "-i", package, check=False)
        assert done.returncode != 0
        assert "a run is supervised on this node" in done.stdout
    finally:
        root.path("/tmp/stop").touch()
        process.wait(LONG_DEADLINE)
        shutil.rmtree(packages / "slurm_restart")


def test_a_controller_is_set_up_from_the_package(
    root: CleanRoot, packages: tuple[Path, Path]
) -> None:
    """As README.Debian says, with cron in place of systemd, which does not run in such a root."""
    root.run("dpkg", "-i", f"/tmp/{packages[0].name}")
    root.run(DEVCLUSTER, "up", "--nodes", "1", "--timeout", "300", CLUSTER)
    try:
        root.run("mkdir", "-p", "/etc/slurm")
        root.run("ln", "-sf", f"{CLUSTER}/etc/slurm.conf", "/etc/slurm/slurm.conf")
        root.run("sh", "-c", "csx-restart install --print > /root/install.sh")
        assert root.run("csx-restart", "install", "--check", check=False).returncode == 1
        root.run("sh", "-eu", "/root/install.sh")
        for fault in ("kill-ctld", "start-ctld"):
            root.run(DEVCLUSTER, "fault", CLUSTER, fault)
        checked = root.run("csx-restart", "install", "--check").stdout
        assert "package: slurm_restart" in checked
        assert "0 missing, 0 differs" in checked
        assert "0 problem" in root.run("csx-restart", "doctor").stdout
    finally:
        root.run(DEVCLUSTER, "down", "--purge", CLUSTER, check=False)
