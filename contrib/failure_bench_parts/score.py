"""The score of a judge: its answers beside what is right, in all and by category or confidence."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contrib.failure_bench_parts.cases import Answer, Case


@dataclass(frozen=True, kw_only=True)
class Score:
    """Counts over some cases. No answer is a wrong one.

    `lost` are runs that should have gone on and were stopped, `futile` restarts of runs that could
    only fail again. `roots` counts the cases whose log has a line that says why.
    """

    cases: int = 0
    action: int = 0
    category: int = 0
    roots: int = 0
    root: int = 0
    lost: int = 0
    futile: int = 0
    wrongly_blamed: int = 0
    culprits: int = 0
    culprits_found: int = 0

    def data(self) -> dict[str, float | int]:
        """Return shares of 1, to three digits, and counts."""
        return {
            "cases": self.cases,
            "action_accuracy": share(self.action, self.cases),
            "category_accuracy": share(self.category, self.cases),
            "root_cause_accuracy": share(self.root, self.roots),
            "lost_runs": self.lost,
            "futile_restarts": self.futile,
            "wrongly_blamed_nodes": self.wrongly_blamed,
            "culprits_found": self.culprits_found,
            "culprits": self.culprits,
        }


def share(part: int, whole: int) -> float:
    """Return part of whole, to three digits; 1.0 of nothing."""
    return round(part / whole, 3) if whole else 1.0


def action_right(case: Case, answer: Answer | None) -> bool:
    """Return whether the answer restarts or stops as is right."""
    return answer is not None and answer.restart in case.restarts


def category_right(case: Case, answer: Answer | None) -> bool:
    """Return whether the answer's category is the case's, or one that the log confuses with it."""
    return answer is not None and answer.category in case.categories


def root_right(case: Case, answer: Answer | None) -> bool:
    """Return whether the answer names the line that says why."""
    return answer is not None and answer.root in case.roots


def score(cases: Sequence[Case], answers: Mapping[str, Answer]) -> Score:
    """Score the answers by the names of their cases."""
    pairs = [(case, answers.get(case.name)) for case in cases]
    wrong = [case for case, answer in pairs if not action_right(case, answer)]
    blamed = [(case.blame, answer.blame if answer else frozenset()) for case, answer in pairs]
    return Score(
        cases=len(pairs),
        action=len(pairs) - len(wrong),
        category=sum(category_right(*pair) for pair in pairs),
        roots=sum(bool(case.roots) for case in cases),
        root=sum(bool(case.roots) and root_right(case, answer) for case, answer in pairs),
        lost=sum(case.restarts == {True} for case in wrong),
        futile=sum(case.restarts == {False} for case in wrong),
        wrongly_blamed=sum(len(got - wanted) for wanted, got in blamed),
        culprits=sum(len(wanted) for wanted, _ in blamed),
        culprits_found=sum(len(got & wanted) for wanted, got in blamed),
    )


def score_by(
    key: Callable[[Case, Answer | None], str],
    cases: Sequence[Case],
    answers: Mapping[str, Answer],
) -> dict[str, Score]:
    """Score groups of cases, by the key of a case and its answer, in the order of the keys."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[key(case, answers.get(case.name))].append(case)
    return {name: score(groups[name], answers) for name in sorted(groups)}


def by_category(case: Case, _answer: Answer | None) -> str:
    """The true category."""
    return case.categories[0]


def by_family(case: Case, _answer: Answer | None) -> str:
    """The kind of program: the first part of the case's name."""
    return case.name.partition(".")[0]


def by_confidence(_case: Case, answer: Answer | None) -> str:
    """How sure the judge was, and whether it stopped the run: `certain, stop`."""
    if answer is None:
        return "no answer"
    action = "restart" if answer.restart else "stop"
    return f"{answer.confidence or 'not said'}, {action}"
