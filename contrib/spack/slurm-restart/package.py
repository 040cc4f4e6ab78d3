"""Spack recipe of slurm_restart: put this folder into `packages` of a repository of Spack's."""

from spack.package import PythonPackage, depends_on, version

CHECKOUT = "https://example.org/slurm_restart"
"""Where your copy of the project is; Spack clones it."""


class SlurmRestart(PythonPackage):
    """Slurm jobs that restart by themselves, from the last checkpoint, without faulty nodes."""

    git = CHECKOUT

    version("main", branch="main")
    version("0.2.0", tag="v0.2.0")

    depends_on("python@3.11:", type=("build", "run"))
    depends_on("py-hatchling@1.24:", type="build")
    depends_on("py-pyyaml@6:", type=("build", "run"))
    depends_on("py-click@8.1:", type=("build", "run"))
    depends_on("py-clustershell@1.9.2:", type=("build", "run"))
    depends_on("py-h5py@3.10:", type=("build", "run"))
    depends_on("py-jinja2@3.1:", type=("build", "run"))
