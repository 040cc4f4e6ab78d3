"""`csx-restart classify`: why a job ended, from any log."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from slurm_restart.cli.classify_output import Classified, format_classified
from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.printable import escape_controls
from slurm_restart.core.slurm_state import STATE_BY_NAME
from slurm_restart.errors import SlurmError, UsageError
from slurm_restart.logs.log_files import FileScan, find_logs, scan_files, scan_stream
from slurm_restart.logs.rule_sources import read_rule_sources
from slurm_restart.logs.rules import RuleSet
from slurm_restart.logs.scanner import make_matcher

_SHORT = {
    "BF": "BOOT_FAIL",
    "CA": "CANCELLED",
    "CD": "COMPLETED",
    "DL": "DEADLINE",
    "F": "FAILED",
    "NF": "NODE_FAIL",
    "OOM": "OUT_OF_MEMORY",
    "PR": "PREEMPTED",
    "RQ": "REQUEUED",
    "RH": "REQUEUE_HOLD",
    "RV": "REVOKED",
    "SE": "SPECIAL_EXIT",
    "TO": "TIMEOUT",
}
"""squeue's and sacct's short forms (job_state_codes)."""
_SHOWN = 60
"""Characters of a wrong value that a message repeats."""
_FILE = click.Path(path_type=Path, allow_dash=True)


@click.command()
@click.argument("files", nargs=-1, type=_FILE, metavar="[FILE|DIRECTORY|-]...")
@click.option("--state", help="Slurm's state of the job: FAILED, TIMEOUT, NODE_FAIL …")
@click.option("--exit-code", "code", metavar="C[:S]", help="Exit code, and signal, as in sacct.")
@click.option("--nodes", metavar="LIST", help="The job's nodes; only these can be to blame.")
@click.option("--job", type=click.IntRange(1), metavar="ID", help="Ask Slurm for all of these.")
@click.option(
    "--rules",
    "extra",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Additional rules, tried before all others; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(  # noqa: PLR0917 - one parameter an option
    files: tuple[Path, ...],
    state: str | None,
    code: str | None,
    nodes: str | None,
    job: int | None,
    extra: tuple[Path, ...],
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Print why a job ended, whether a restart is useful, and which node is to blame.

    The logs may be of any program: FILEs of any size, DIRECTORYs with logs, run directories, or
    - for standard input. Slurm is not needed, but its facts about the end (--state, --exit-code,
    --nodes, or --job for all of them) make the result more certain.

    Exit codes: 0 classified, whatever the result; 2 wrong usage, or no log could be read.
    """
    given = _facts_from_options(state, code, nodes)
    if job is not None:
        given, files = _facts_from_slurm(job, given, files)
    if not files:
        raise UsageError("expected a log: FILE, DIRECTORY or - for standard input")
    rules = read_rule_sources(extra)
    scans = _scan(files, rules)
    if all(scan.error for scan in scans):
        problems = (escape_controls(f"{scan.path}: {scan.error}") for scan in scans)
        raise UsageError("; ".join(problems))
    findings = [finding for scan in scans for finding in scan.findings]
    result = Classified(given, attribute_log(given, findings), tuple(scans), rules)
    click.echo(json.dumps(result.data(), indent=2) if as_json else format_classified(result))
    for problem in rules.problems:
        text = escape_controls(problem, keep="\n")
        click.echo(f"csx-restart: warning: rule left out: {text}", err=True)


def _facts_from_options(state: str | None, code: str | None, nodes: str | None) -> ExitFacts:
    exit_code, signal = _exit_code(code)
    return ExitFacts(
        state=None if state is None else _state(state),
        exit_code=exit_code,
        signal=signal,
        nodes=_nodes(nodes),
    )


def _state(text: str) -> JobState | JobFlag:
    """Parse a state as squeue, sacct or scontrol print it: `CANCELLED by 1000`, `CANCELLED+`, `CA`.

    Raises:
        UsageError: not a state of a job.
    """
    name = text.strip().upper().split(" ")[0].split("+")[0].split(",")[0]
    name = _SHORT.get(name, name)
    if name not in STATE_BY_NAME:
        raise UsageError(
            f"--state: expected one of {', '.join(sorted(STATE_BY_NAME))}, got {text[:_SHOWN]!r}"
        )
    return STATE_BY_NAME[name]


def _exit_code(text: str | None) -> tuple[int | None, int]:
    """Parse `C` or `C:S`; return (exit code, signal).

    Raises:
        UsageError: not one or two numbers.
    """
    if text is None:
        return None, 0
    first, _, second = text.partition(":")
    number = r"[0-9]{1,3}"
    if not (re.fullmatch(number, first) and (re.fullmatch(number, second) or not second)):
        raise UsageError(f"--exit-code: expected C or C:S, as in 1:0, got {text[:_SHOWN]!r}")
    return int(first), int(second or 0)


def _nodes(text: str | None) -> tuple[str, ...]:
    try:
        return expand(text) if text else ()
    except SlurmError as error:
        raise UsageError(f"--nodes: {error}") from None


def _facts_from_slurm(
    job_id: int, given: ExitFacts, files: tuple[Path, ...]
) -> tuple[ExitFacts, tuple[Path, ...]]:
    """Add Slurm's facts about a job and the path of its log, unless the command line has them."""
    # Imported here: most calls need no Slurm, and its modules take 40 ms.
    from slurm_restart.cli.find_run import slurm_here  # noqa: PLC0415

    job = slurm_here().job(job_id)
    facts = replace(given, nodes=given.nodes or job.nodes)
    if job.state is not None and job.state.is_final:
        facts = replace(facts, state=given.state or job.state)
        if given.exit_code is None:
            facts = replace(facts, exit_code=job.exit_code, signal=job.signal)
    if files or not job.std_out:
        return facts, files
    return facts, (Path(job.work_dir or ".") / job.std_out,)


def _scan(files: Sequence[Path], rules: RuleSet) -> list[FileScan]:
    scans = []
    if Path("-") in files:
        scans.append(scan_stream(sys.stdin.buffer, make_matcher(rules.rules), name="-"))
    named = [path for path in files if path != Path("-")]
    return [*scans, *scan_files(find_logs(named), rules.rules)]
