"""The judgement of a log's text with the package's own rules, for tests."""

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.job import JobState
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import LogScanner, make_matcher

MATCHER = make_matcher(load_rules(site=None))


def judge_text(
    text: str,
    exit_code: str = "1:0",
    *,
    nodes: tuple[str, ...] = (),
    layout: tuple[str, ...] = (),
    size: int = 1 << 20,
) -> Attribution:
    """What `csx-restart classify --state FAILED` says.

    Args:
        text: the log.
        exit_code: exit code and signal, as Slurm prints them.
        nodes: the job's nodes; empty: not known.
        layout: the node of each task; empty: not known.
        size: bytes in which the log arrives at a time.
    """
    scanner = LogScanner(MATCHER)
    data = text.encode()
    for start in range(0, len(data), size):
        scanner.feed(data[start : start + size])
    code, signal = map(int, exit_code.split(":"))
    facts = ExitFacts(
        state=JobState.FAILED, exit_code=code, signal=signal, nodes=nodes, layout=layout
    )
    return attribute_log(facts, scanner.findings())
