"""Spack recipe of slurm_restart, for Spack 1.0 and later.

spack repo add contrib/spack/spack_repo/slurm_restart && spack install slurm-restart
"""

from spack.package import depends_on, license, version  # noqa: A004 - as Spack names it
from spack_repo.builtin.build_systems.python import PythonPackage

CHECKOUT = "https://example.org/slurm_restart"
"""Where your copy of the project is; Spack clones it."""


class SlurmRestart(PythonPackage):
    """Slurm jobs that restart by themselves, from the last checkpoint, without faulty nodes."""

    homepage = CHECKOUT
    git = CHECKOUT

    license("Apache-2.0")

    version("main", branch="main")
    version("0.2.0", tag="v0.2.0")

    depends_on("python@3.11:", type=("build", "run"))
    depends_on("py-hatchling@1.24:", type="build")
    depends_on("py-pyyaml@6:", type=("build", "run"))
    depends_on("py-click@8.1:", type=("build", "run"))
    depends_on("py-clustershell@1.9.2:", type=("build", "run"))
    depends_on("py-h5py@3.10:", type=("build", "run"))
    depends_on("py-jinja2@3.1:", type=("build", "run"))
