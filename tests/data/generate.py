#!/usr/bin/env python3
"""Makes the test data: runs real failing programs and keeps what they print, and what it means.

Run it again with newer versions of what the programs use; `--list` says what there is.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.data.generator import (  # noqa: E402 - after the path is set
    clusters,
    data_cases,
    language_cases,
    machine_cases,
    mpi_cases,
    places,
    program_cases,
    rank_cases,
    service_cases,
    settings_cases,
    shell_cases,
    slurm_cases,
    storage_cases,
    tensor_cases,
)
from tests.data.generator.case import Case, NotAsExpectedError  # noqa: E402
from tests.data.generator.run import Made, free, record, run, why_not  # noqa: E402

CASES = (
    *program_cases.CASES,
    *data_cases.CASES,
    *storage_cases.CASES,
    *machine_cases.CASES,
    *service_cases.CASES,
    *rank_cases.CASES,
    *settings_cases.CASES,
    *tensor_cases.CASES,
    *language_cases.CASES,
    *mpi_cases.CASES,
    *shell_cases.CASES,
    *slurm_cases.CASES,
)


def wanted(names: list[str]) -> list[Case]:
    """The cases with these names or patterns; all where none is given."""
    for name in names:
        if not any(fnmatch(case.name, name) for case in CASES):
            sys.exit(f"generate.py: {name}: no such case; --list shows them")
    return [case for case in CASES if not names or any(fnmatch(case.name, n) for n in names)]


class Store:
    """The logs and their lines, of which those are replaced that are made anew."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.index = out / "cases.jsonl"
        lines = self.index.read_text().splitlines() if self.index.exists() else []
        self.lines = {one["name"]: one for one in map(json.loads, lines)}
        (out / "logs").mkdir(parents=True, exist_ok=True)

    def keep(self, line: dict[str, object], log: str) -> None:
        """Store one case."""
        (self.out / "logs" / f"{line['name']}.log").write_text(log)
        self.lines[str(line["name"])] = line
        text = "".join(f"{json.dumps(self.lines[name])}\n" for name in sorted(self.lines))
        self.index.write_text(text)


def make(cases: Iterable[Case], python: Path) -> Iterable[tuple[Case, Made | str]]:
    """Run the cases; with each, what it left behind, or why it was skipped."""
    on_cluster = []
    with tempfile.TemporaryDirectory(prefix="csx-data-", ignore_cleanup_errors=True) as top:
        Path(top).chmod(0o755)
        for case in cases:
            if reason := why_not(case, python):
                yield case, reason
            elif case.cluster is not None:
                on_cluster.append(case)
            else:
                folder = Path(top) / case.name
                yield case, run(case, folder, python)
                free(folder)
    places.remove_cgroup()
    yield from clusters.run(on_cluster, python)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="generate.py", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these; * stands for any")
    parser.add_argument("--out", metavar="DIR", type=Path, default=HERE)
    help_ = "interpreter for the programs, which makes more cases if it has torch and the like"
    parser.add_argument("--python", metavar="INTERPRETER", default=sys.executable, help=help_)
    parser.add_argument("--list", action="store_true", help="list the cases and make none")
    options = parser.parse_args()
    cases, python = wanted(options.names), Path(options.python).absolute()
    if options.list:
        for case in cases:
            print(f"{case.name:32} {case.category:22} {why_not(case, python) or ''}")
        return 0
    store, failed, skipped = Store(options.out), 0, []
    for case, made in make(cases, python):
        if isinstance(made, str):
            skipped.append(f"skipped  {case.name}: {made}")
            continue
        try:
            store.keep(record(case, made, python), made.log)
            print(f"made     {case.name}: {made.state} {made.exit_code}", flush=True)
        except NotAsExpectedError as error:
            failed += 1
            print(f"FAILED   {case.name}: {error}\n{made.log[-3000:]}", flush=True)
    print(*skipped, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
