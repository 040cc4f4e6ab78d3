"""The package's own judgement of the cases, as `csx-restart classify` makes it, in this process."""

from collections.abc import Sequence

from contrib.failure_bench_parts.cases import Answer, Case, bare
from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.category import Category
from slurm_restart.core.slurm_state import STATE_BY_NAME
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import LogScanner, make_matcher


def judge(cases: Sequence[Case]) -> dict[str, Answer]:
    """Return the answers with the package's rules, by the names of the cases."""
    matcher = make_matcher(load_rules(site=None))
    answers = {}
    for case in cases:
        scanner = LogScanner(matcher)
        scanner.feed(case.log.read_bytes())
        code, signal = map(int, case.exit_code.split(":"))
        facts = ExitFacts(state=STATE_BY_NAME[case.state], exit_code=code, signal=signal)
        found = attribute_log(facts, scanner.findings())
        answers[case.name] = Answer(
            category=found.category.value,
            restart=found.recoverable and found.category is not Category.COMPLETED,
            confidence=found.confidence.value,
            root="" if found.root_cause is None else bare(found.root_cause.text),
            blame=frozenset(blame.node for blame in found.blamed),
        )
    return answers
