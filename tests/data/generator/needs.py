"""What a case needs of this machine, and whether it is here."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

MODULES = (
    "click",
    "grpc",
    "h5py",
    "huggingface_hub",
    "hydra",
    "jax",
    "jsonschema",
    "mpi4py",
    "numpy",
    "pandas",
    "PIL",
    "pyarrow",
    "pydantic",
    "requests",
    "safetensors",
    "scipy",
    "tensorflow",
    "torch",
    "transformers",
    "yaml",
)
"""Modules whose versions are told with a case."""
PROGRAMS = {
    "gcc": ("gcc", "g++"),
    "gfortran": ("gfortran",),
    "git": ("git",),
    "java": ("java", "javac"),
    "make": ("make",),
    "node": ("node",),
    "octave": ("octave-cli",),
    "openmpi": ("mpirun", "mpicc"),
    "perl": ("perl",),
    "R": ("Rscript",),
    "ss": ("ss", "ip"),
    "sshd": ("sshd", "ssh", "ssh-keygen"),
}
SYSTEM_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


@cache
def module_version(python: Path, module: str) -> str | None:
    """The version of a module of that interpreter; None: it has none."""
    ask = f"import {module}; print(getattr({module}, '__version__', '?'))"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    return done.stdout.split()[-1] if done.returncode == 0 else None


@cache
def python_version(python: Path) -> str:
    """The version of the interpreter."""
    ask = "import platform; print(platform.python_version())"
    return subprocess.run(
        [python, "-c", ask], capture_output=True, text=True, check=True
    ).stdout.strip()


@cache
def lacking(need: str, python: Path) -> str | None:
    """Why a need is not met; None: it is."""
    if need in MODULES:
        found = module_version(python, need)
        return None if found else f"{python} has no module {need}"
    if need in PROGRAMS:
        absent = [one for one in PROGRAMS[need] if shutil.which(one, path=SYSTEM_PATH) is None]
        return f"{', '.join(absent)}: not installed" if absent else None
    if need == "cuda":
        ask = "import sys, torch; sys.exit(not torch.cuda.is_available())"
        done = subprocess.run([python, "-c", ask], capture_output=True, check=False)
        return None if done.returncode == 0 else "torch sees no GPU here"
    raise ValueError(f"{need}: no such need")
