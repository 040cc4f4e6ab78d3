"""The packages of other kinds: what they depend on and install is what the project has."""

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from contrib import package_files
from slurm_restart import __version__

TOP = Path(__file__).parents[3]
CONTRIB = TOP / "contrib"
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


def test_the_spack_recipe_has_this_release_and_depends_on_what_pip_installs() -> None:
    text = (CONTRIB / "spack" / "slurm-restart" / "package.py").read_text()
    ast.parse(text)
    assert f'version("{__version__}"' in text
    for name, least in names().items():
        spack = name if name.startswith("py") and name != "pyyaml" else f"py-{name}"
        assert f'depends_on("{spack}@{least.removesuffix(".0")}:"' in text


def test_the_modulefile_is_valid_tcl() -> None:
    if shutil.which("tclsh") is None:
        pytest.skip("tclsh: not installed")
    text = STUBS + (CONTRIB / "modulefiles" / "slurm_restart").read_text()
    done = subprocess.run(
        ["tclsh"], input=text, capture_output=True, text=True, check=True, timeout=60
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
