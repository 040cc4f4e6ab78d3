"""`csx-restart classify`: why a job ended, from any log."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from slurm_restart.cli.classify_facts import KnownFacts, facts_from_options, facts_from_slurm
from slurm_restart.cli.classify_output import Classified, format_classified
from slurm_restart.cli.scan_progress import scan_progress
from slurm_restart.core.inferred_state import attribute_with_inferred_state
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import UsageError
from slurm_restart.logs.log_files import (
    FileScan,
    find_logs,
    scan_files,
    scan_stream,
    total_size,
)
from slurm_restart.logs.rule_sources import read_rule_sources
from slurm_restart.logs.rules import RuleSet
from slurm_restart.logs.scanner import make_matcher

_FILE = click.Path(path_type=Path, allow_dash=True)


@click.command()
@click.argument("files", nargs=-1, type=_FILE, metavar="[FILE|DIRECTORY|PATTERN|-]...")
@click.option("--state", help="Slurm's state of the job: FAILED, TIMEOUT, NODE_FAIL …")
@click.option("--exit-code", "code", metavar="C[:S]", help="Exit code, and signal, as in sacct.")
@click.option("--nodes", metavar="LIST", help="The job's nodes; only these can be to blame.")
@click.option(
    "--job",
    type=click.IntRange(1),
    metavar="ID",
    help="Ask Slurm, or its accounting, for all of these and for the log.",
)
@click.option(
    "--rules",
    "extra",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Additional rules, tried before all others; repeatable.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "md"]),
    default="text",
    show_default=True,
    help="Text, JSON, or Markdown for a ticket.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def command(  # noqa: PLR0917 - one parameter an option
    files: tuple[Path, ...],
    state: str | None,
    code: str | None,
    nodes: str | None,
    job: int | None,
    extra: tuple[Path, ...],
    form: str,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Print why a job ended, whether a restart is useful, and which node is to blame.

    The logs may be of any program and of any size: FILEs, also compressed ones (gzip, xz, zstd,
    bzip2), DIRECTORYs with logs, run directories, or - for standard input. Several logs are those
    of one job, such as one of each rank.

    Slurm is not needed, but its facts about the end (--state, --exit-code, --nodes, or --job for
    all of them) make the result more certain; without a log they give an answer alone. Without a
    state, the likely one is inferred from the log.

    Exit codes: 0 classified, whatever the result; 2 wrong usage, the job has not ended, or no log
    could be read; 4 or 5 Slurm does not answer, or does not know the job.
    """
    known = facts_from_options(state, code, nodes)
    if job is not None:
        known = facts_from_slurm(job, known)
    rules = read_rule_sources(extra)
    scans = _scan(files or ([known.log] if known.log else []), known, rules, given=bool(files))
    findings = [finding for scan in scans for finding in scan.findings]
    attribution, inferred = attribute_with_inferred_state(known.exit, findings)
    result = Classified(known, attribution, tuple(scans), rules, inferred)
    click.echo(_format(result, "json" if as_json else form))
    for problem in rules.problems:
        text = escape_controls(problem, keep="\n")
        click.echo(f"csx-restart: warning: rule left out: {text}", err=True)


def _format(result: Classified, form: str) -> str:
    if form == "json":
        return json.dumps(result.data(), indent=2)
    if form == "md":
        # Imported here: rarely needed.
        from slurm_restart.cli.classify_markdown import format_markdown  # noqa: PLC0415

        return format_markdown(result)
    return format_classified(result)


def _scan(
    files: Sequence[Path], known: KnownFacts, rules: RuleSet, *, given: bool
) -> list[FileScan]:
    """Scan the logs.

    Args:
        files: as on the command line, or the one that Slurm knows.
        known: the facts; if they suffice, the log that Slurm knows need not be there.
        rules: in the order in which they are tried.
        given: whether the files are those of the command line.

    Raises:
        UsageError: no log can be read.
    """
    if not files and not known.suffice:
        raise UsageError(
            "expected a log (FILE, DIRECTORY or - for standard input) or --state or --exit-code"
        )
    scans = []
    if Path("-") in files:
        matcher = make_matcher(rules.rules)
        with scan_progress(None) as on_read:
            scans.append(scan_stream(sys.stdin.buffer, matcher, name="-", on_read=on_read))
    logs = find_logs([path for path in files if path != Path("-")])
    with scan_progress(total_size(logs)) as on_read:
        scans += scan_files(logs, rules.rules, on_read)
    if scans and all(scan.error for scan in scans) and (given or not known.suffice):
        problems = (escape_controls(f"{scan.path}: {scan.error}") for scan in scans)
        raise UsageError("; ".join(problems))
    return scans
