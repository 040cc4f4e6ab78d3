"""Whether a program was starting: steps and time where they are known, else lines of its log."""

from typing import Any

import pytest

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Role
from slurm_restart.core.program_start import LONG, SHORT, KnownProgress, with_known_progress


def finding(**changes: Any) -> Finding:
    values: dict[str, Any] = {
        "rule": "config.value", "category": Category.CONFIG, "role": Role.ROOT, "line": 3,
        "text": "unknown option --x",
    }  # fmt: skip
    return Finding(**values | changes)


@pytest.mark.parametrize(
    ("by_lines", "progressed", "known", "early"),
    [
        # Nothing but the log is known.
        (True, False, KnownProgress(), True),
        (False, False, KnownProgress(), False),
        (True, True, KnownProgress(), True),
        (False, True, KnownProgress(), False),
        # Progress outranks everything.
        (True, False, KnownProgress(made=True), False),
        (True, False, KnownProgress(made=True, seconds=1.0), False),
        # A long time does, too.
        (True, True, KnownProgress(seconds=LONG), False),
        (True, True, KnownProgress(seconds=LONG - 1), True),
        # Within a short one a program without any progress is starting, whatever it prints.
        (False, False, KnownProgress(seconds=SHORT - 1), True),
        (False, False, KnownProgress(seconds=SHORT), False),
        (False, True, KnownProgress(seconds=SHORT - 1), False),
        (True, True, KnownProgress(seconds=SHORT - 1), True),
    ],
)
def test_what_is_known_besides_the_log_outranks_its_lines(
    by_lines: bool, progressed: bool, known: KnownProgress, early: bool
) -> None:
    [found] = with_known_progress([finding(early=by_lines, progressed=progressed)], known)
    assert found == finding(early=early, progressed=progressed)


def judge(line: Finding, **known: Any) -> tuple[Category, bool]:
    facts = ExitFacts(exit_code=1, progress=KnownProgress(**known))
    found = attribute_log(facts, [line])
    return found.category, found.put_off


def test_a_likely_mistake_after_known_progress_is_put_off() -> None:
    assert judge(finding()) == (Category.CONFIG, False)
    assert judge(finding(), made=True) == (Category.UNKNOWN, True)
    assert judge(finding(), seconds=LONG) == (Category.UNKNOWN, True)


def test_a_guess_is_raised_only_at_a_known_start() -> None:
    guess = {"confidence": Confidence.GUESS, "at_start": Confidence.LIKELY}
    assert judge(finding(**guess)) == (Category.CONFIG, False)
    assert judge(finding(**guess), made=True)[0] is Category.UNKNOWN
    late = finding(**guess, early=False)
    assert judge(late)[0] is Category.UNKNOWN
    assert judge(late, seconds=5.0) == (Category.CONFIG, False)
