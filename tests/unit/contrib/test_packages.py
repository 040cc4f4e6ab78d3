"""The packages of other kinds: what they depend on and install is what the project has."""

import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from contrib import package_files
from slurm_restart import __version__

TOP = Path(__file__).parents[3]
CONTRIB = TOP / "contrib"
SPACK = CONTRIB / "spack" / "spack_repo" / "slurm_restart"
NEEDED = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["dependencies"]
"""What pip installs beside the package, such as `click>=8.1`."""
# The stubs of what the modules program gives to a modulefile.
STUBS = """\
proc unknown {args} { puts [join $args " "] }
"""


def names() -> dict[str, str]:
    """Return the least release of what the package depends on, by name in lower case."""
    return {(pair := need.split(">="))[0].lower(): pair[1] for need in NEEDED}


def test_the_debian_package_depends_on_what_pip_installs() -> None:
    control = (CONTRIB / "debian" / "control").read_text()
    for name in names():
        assert f"python3-{name.removeprefix('py')}" in control


def test_the_rpm_has_this_release_and_depends_on_what_pip_installs() -> None:
    spec = (CONTRIB / "slurm-restart.spec").read_text()
    assert f"Version:        {__version__}\n" in spec
    for name in names():
        assert re.search(rf"^(Requires|Recommends): +python3-{name}\b", spec, re.MULTILINE)
    if shutil.which("rpmspec") is None:
        pytest.skip("rpmspec: not installed, so the syntax of the spec is not checked")
    done = subprocess.run(
        ["rpmspec", "-P", str(CONTRIB / "slurm-restart.spec")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def recipe(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Run Spack's recipe with modules that stand for Spack's; return the calls by directive."""
    calls: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for name in ("spack", "spack.package", "spack_repo", "spack_repo.builtin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    systems = "spack_repo.builtin.build_systems"
    for name in (systems, f"{systems}.python"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules[f"{systems}.python"].PythonPackage = type("PythonPackage", (), {})
    for directive in ("depends_on", "license", "version"):
        record = calls.setdefault(directive, [])
        setattr(
            sys.modules["spack.package"],
            directive,
            lambda what, _to=record, **how: _to.append((what, how)),
        )
    found = runpy.run_path(str(SPACK / "packages" / "slurm_restart" / "package.py"))
    assert found["SlurmRestart"].__doc__
    return calls


def test_the_spack_recipe_has_this_release_and_depends_on_what_pip_installs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = recipe(monkeypatch)
    assert (__version__, {"tag": f"v{__version__}"}) in calls["version"]
    assert calls["license"] == [("Apache-2.0", {})]
    needs = {spec for spec, how in calls["depends_on"] if "run" in how["type"]}
    expected = {"python@3.11:"}
    for name, least in names().items():
        spack = name if name.startswith("py") and name != "pyyaml" else f"py-{name}"
        expected.add(f"{spack}@{least.removesuffix('.0')}:")
    assert needs == expected


def test_spack_finds_the_recipe_by_its_names() -> None:
    """A repository of API v2: each name is that of a Python module."""
    settings = yaml.safe_load((SPACK / "repo.yaml").read_text())["repo"]
    assert settings == {"namespace": SPACK.name, "api": "v2.0"}
    assert SPACK.parent.name == "spack_repo"
    assert [path.name for path in (SPACK / "packages").iterdir()] == ["slurm_restart"]


def test_the_modulefile_is_valid_tcl() -> None:
    if shutil.which("tclsh") is None:
        pytest.skip("tclsh: not installed")
    text = STUBS + (CONTRIB / "modulefiles" / "slurm_restart").read_text()
    done = subprocess.run(
        ["tclsh"], input=text, capture_output=True, text=True, check=True, timeout=300
    )
    assert "prepend-path PATH /opt/slurm_restart/commands" in done.stdout
    assert not done.stderr


def test_the_files_of_a_package(tmp_path: Path) -> None:
    assert package_files.main([str(tmp_path)]) == 0
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert "usr/bin/csx-sbatch" in found
    assert len([name for name in found if name.startswith("usr/share/man/")]) == 4
    assert (tmp_path / "usr/bin/csx-restart").stat().st_mode & 0o111
    unit = (tmp_path / "usr/lib/systemd/system/slurm-restart-reconcile.service").read_text()
    assert "ExecStart=/usr/bin/csx-restart reconcile" in unit
    for shell, name in (("bash", "bash-completion/completions/csx-sbatch"), ("zsh", "")):
        path = tmp_path / "usr/share" / (name or "zsh/vendor-completions/_csx-sbatch")
        if shutil.which(shell) is not None:
            subprocess.run([shell, "-n", str(path)], check=True)


def test_what_a_controller_needs_is_a_part_of_what_pip_installs() -> None:
    lines = (CONTRIB / "controller.txt").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} < set(NEEDED)


def unit_files(place: Path, source: str) -> Path:
    """Write the units, with a command that is there, to where systemd looks; return the folder."""
    folder = place / "usr" / "lib" / "systemd" / "system"
    folder.mkdir(parents=True)
    texts = {path.name: path.read_text() for path in (CONTRIB / "systemd").iterdir()}
    if source == "package":
        texts = {Path(name).name: text for name, text, _ in package_files.units()}
    for name, text in texts.items():
        command = re.compile(r"^ExecStart=\S+", re.MULTILINE)
        (folder / name).write_text(command.sub(f"ExecStart={sys.executable}", text))
    return folder


@pytest.mark.parametrize("source", ["checkout", "package"])
def test_systemd_understands_the_units(tmp_path: Path, source: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze: not installed")
    folder = unit_files(tmp_path, source)
    units = sorted(map(str, folder.iterdir()))
    assert len(units) == 2
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    # It says what is wrong, and ends with 0 nevertheless for an unknown key.
    said = [line for line in done.stderr.splitlines() if "slurm-restart" in line]
    assert (done.returncode, said) == (0, [])


def test_systemd_enables_the_timer(tmp_path: Path) -> None:
    if shutil.which("systemctl") is None:
        pytest.skip("systemctl: not installed")
    unit_files(tmp_path, "package")
    timer = "slurm-restart-reconcile.timer"
    enable = ["systemctl", f"--root={tmp_path}", "enable", timer]
    subprocess.run(enable, check=True, capture_output=True, timeout=300)
    wanted = tmp_path / "etc/systemd/system/timers.target.wants" / timer
    assert str(wanted.readlink()).endswith(f"/usr/lib/systemd/system/{timer}")
