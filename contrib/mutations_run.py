"""Apply the mutations of contrib/mutations.toml one by one and run the unit tests on each.

Each mutation is one fault in the package. A mutation is killed if a test fails, and survives if all
tests pass. The tests nearest to the mutated module run first. Every mutation is tested in a forked
process, on a copy of the installed package and of the tests, so that the checkout stays as it is.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
DATA = Path(__file__).with_name("mutations.toml")
COPIED = ("contrib", "docs", "templates", "tests", "pyproject.toml", "README.md", "CHANGELOG.md")
PACKAGES = ("core", "control")
"""Packages whose tests run for every mutation; the mutations are faults in these."""
TEST_TIMEOUT = 300
"""Seconds for one test. A mutation that makes a test hang counts as killed."""
TIMEOUT = 1500
"""Seconds for one run of pytest, should a test not end at its own timeout."""


class Outcome(Enum):
    """What the tests made of a mutation."""

    KILLED = "killed"
    SURVIVED = "survived"
    INVALID = "invalid"
    """The old text is not there exactly once, or the mutated package cannot be imported."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One fault: in `file`, below slurm_restart/, `new` replaces `old`, which occurs once."""

    id: str
    file: str
    old: str
    new: str

    def problem(self, package: Path) -> str | None:
        """Return why the mutation cannot be applied to the package, or None."""
        path = package / self.file
        if not path.is_file():
            return f"{self.file}: no such file"
        count = path.read_text().count(self.old)
        return None if count == 1 else f"{self.file}: the old text occurs {count} times"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of one mutation; `seconds` is the time that its tests took."""

    mutation: Mutation
    outcome: Outcome
    detail: str
    seconds: float = 0.0


def load(path: Path = DATA) -> tuple[Mutation, ...]:
    """Read the mutations.

    Raises:
        TypeError: a mutation has an unknown key, or lacks one.
    """
    return tuple(Mutation(**entry) for entry in tomllib.loads(path.read_text())["mutation"])


def package_directory() -> Path:
    """Return the directory of the installed package, which holds also what its build adds."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != TOP]
    spec = find_spec("slurm_restart")
    if spec is None or spec.origin is None:
        raise SystemExit("mutations: slurm_restart is not installed")
    return Path(spec.origin).parent


def copy_project(package: Path, destination: Path) -> None:
    """Copy the package, its tests and what the tests read."""
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, destination / "slurm_restart", ignore=without_caches)
    for name in COPIED:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, destination / name, ignore=without_caches)
        else:
            shutil.copy2(TOP / name, destination / name)


def stages(file: str) -> list[list[str]]:
    """Return lists of test paths for a module, the nearest first."""
    folder, _, module = file.rpartition("/")
    near = f"tests/unit/{folder}/test_{module}"
    others = [entry for entry in PACKAGES if entry != folder]
    found = [[near]] if (TOP / near).is_file() else []
    return [*found, [f"tests/unit/{folder}"], [f"tests/unit/{entry}" for entry in others]]


def run_tests(directory: Path, paths: Sequence[str], output: Path) -> int | None:
    """Run pytest in a forked process.

    Returns:
        pytest's exit code, or None if the time was up.
    """
    child = os.fork()
    if child == 0:
        try:
            code = _run_pytest(directory, paths, output)
        finally:
            os._exit(code if "code" in locals() else 3)
    deadline = time.monotonic() + TIMEOUT
    while True:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.05)


def _run_pytest(directory: Path, paths: Sequence[str], output: Path) -> int:
    import pytest  # noqa: PLC0415

    os.setpgid(0, 0)
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    os.environ["PYTHONPATH"] = str(directory)
    os.environ["CSX_HYPOTHESIS_PROFILE"] = "ci"
    options = ["-x", "-q", "--no-header", f"--timeout={TEST_TIMEOUT}"]
    options += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    code = int(pytest.main([*options, *paths]))
    sys.stdout.flush()
    return code


def first_failure(output: Path) -> str:
    """Return the name of the first failed test of pytest's output."""
    lines = output.read_text(errors="replace").splitlines()
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].split(" - ")[0].split(" ", 1)[1] if failed else (lines or ["no output"])[-1]


class Worker:
    """A copy of the project on which one process tries mutations, one after the other."""

    directory: Path
    serial = 0

    @classmethod
    def start(cls, package: Path, scratch: Path) -> None:
        """Make the copy of this process."""
        cls.directory = Path(tempfile.mkdtemp(dir=scratch))
        copy_project(package, cls.directory)

    @classmethod
    def test(cls, mutation: Mutation) -> Result:
        """Apply one mutation, run the tests, and take it back."""
        path = cls.directory / "slurm_restart" / mutation.file
        original, times = path.read_text(), path.stat()
        cls.serial += 1
        path.write_text(original.replace(mutation.old, mutation.new))
        # Python compares size and whole seconds of the source with its cache: a time of its own
        # for each mutation keeps the caches of all other modules valid.
        os.utime(path, (cls.serial, cls.serial))
        began = time.monotonic()
        try:
            outcome, detail = cls._outcome(mutation)
        finally:
            path.write_text(original)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        return Result(
            mutation=mutation, outcome=outcome, detail=detail, seconds=time.monotonic() - began
        )

    @classmethod
    def _outcome(cls, mutation: Mutation) -> tuple[Outcome, str]:
        output = cls.directory / "pytest.out"
        for paths in stages(mutation.file):
            match run_tests(cls.directory, paths, output):
                case 0:
                    continue
                case 1:
                    return Outcome.KILLED, first_failure(output)
                case None:
                    return Outcome.KILLED, f"no end within {TIMEOUT} s: {' '.join(paths)}"
                case _:
                    return Outcome.INVALID, first_failure(output)
        return Outcome.SURVIVED, "all tests passed"

    @classmethod
    def unchanged(cls) -> str | None:
        """Return the first test that fails without a mutation, or None."""
        output = cls.directory / "pytest.out"
        paths = [f"tests/unit/{entry}" for entry in PACKAGES]
        return None if run_tests(cls.directory, paths, output) == 0 else first_failure(output)


def show(results: Iterable[Result]) -> list[Result]:
    """Print one row for each result as it comes, and return them."""
    found = []
    for result in results:
        mutation = result.mutation
        row = f"{result.outcome.value:<9} {mutation.id:<34} {mutation.file:<32}"
        print(f"{row} {result.seconds:5.1f} s  {result.detail}", flush=True)
        found.append(result)
    return found


def select(mutations: Sequence[Mutation], wanted: Sequence[str]) -> tuple[Mutation, ...]:
    """Return the mutations with the given ids, or all of them."""
    unknown = set(wanted) - {mutation.id for mutation in mutations}
    if unknown:
        raise SystemExit(f"mutations: unknown id: {', '.join(sorted(unknown))}")
    return tuple(entry for entry in mutations if not wanted or entry.id in wanted)


def test_all(mutations: Sequence[Mutation], package: Path, jobs: int) -> list[Result]:
    """Try every mutation and print the table."""
    # Loaded once, so that the forked processes need not.
    import hypothesis  # noqa: F401, PLC0415
    import pytest  # noqa: F401, PLC0415

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    scratch = Path(tempfile.mkdtemp(prefix="mutations."))
    try:
        with ProcessPoolExecutor(
            jobs, get_context("fork"), initializer=Worker.start, initargs=(package, scratch)
        ) as pool:
            if failed := pool.submit(Worker.unchanged).result():
                raise SystemExit(f"mutations: fails without a mutation: {failed}")
            return show(pool.map(Worker.test, mutations))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if at most the stated number of mutations survived and all could be applied."""
    parser = argparse.ArgumentParser(prog="contrib/mutations", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these mutations")
    parser.add_argument("--survivors", type=int, default=0, help="how many may survive")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--check", action="store_true", help="only check that all can be applied")
    options = parser.parse_args(arguments)
    package = package_directory()
    mutations = select(load(), options.ids)
    problems = [(entry.id, text) for entry in mutations if (text := entry.problem(package))]
    for name, text in problems:
        print(f"{Outcome.INVALID.value:<9} {name:<34} {text}")
    if options.check or problems:
        return int(bool(problems))
    results = test_all(mutations, package, options.jobs)
    count = {kind: sum(entry.outcome is kind for entry in results) for kind in Outcome}
    print("\n" + ", ".join(f"{number} {kind.value}" for kind, number in count.items()))
    return int(count[Outcome.INVALID] > 0 or count[Outcome.SURVIVED] > options.survivors)


if __name__ == "__main__":
    sys.exit(main())
