"""Ask a judge about the cases: a command for each log, a file of answers, or a baseline."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from contrib.failure_bench_parts.cases import Answer, BadCaseError, Case, read_answer

TIMEOUT = 60
"""Seconds for one log."""


def ask_command(command: str, cases: Sequence[Case], *, jobs: int) -> dict[str, Answer]:
    """Run `COMMAND --state STATE --exit-code CODE:SIGNAL LOG` for each case.

    The log is a copy named job.out, so that its path says nothing. A case whose command prints no
    answer, or takes longer than `TIMEOUT`, has none.
    """

    def ask(case: Case) -> Answer | None:
        with TemporaryDirectory(prefix="failure-bench-") as folder:
            copy = Path(folder) / "job.out"
            shutil.copyfile(case.log, copy)
            facts = ["--state", case.state, "--exit-code", case.exit_code]
            try:
                done = subprocess.run(
                    [*shlex.split(command), *facts, str(copy)],
                    capture_output=True,
                    text=True,
                    timeout=TIMEOUT,
                    check=False,
                )
                return read_answer(done.stdout)
            except (subprocess.TimeoutExpired, BadCaseError):
                return None

    with ThreadPoolExecutor(jobs) as pool:
        found = zip(cases, pool.map(ask, cases), strict=True)
        return {case.name: answer for case, answer in found if answer is not None}


def read_answers(path: Path) -> Mapping[str, Answer]:
    """Read a file with an answer a line, each with the `name` of its case.

    Raises:
        BadCaseError: naming the line.
    """
    answers = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            answers[str(json.loads(line)["name"])] = read_answer(line)
        except (BadCaseError, ValueError, KeyError, TypeError) as error:
            raise BadCaseError(f"{path}:{number}: {error}") from None
    return answers
