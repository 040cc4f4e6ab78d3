"""When the Model Zoo's check for NaN is on: from NaN on until it has led somewhere.

On CS systems the check ends a run in a deadlock where a system computes NaN, and the site may take
that system out of use. So it is on after NaN without a culprit. It is off again once an attempt
with it has got on, and once an attempt that deadlocked with it is followed by one without a node of
it. If two attempts in a row deadlock with it on the same nodes, it finds nothing.
"""

from collections.abc import Sequence
from itertools import pairwise

from slurm_restart.core.category import Category
from slurm_restart.frozen import frozen

RULE = "cerebras.nan"
"""The rule of the line with which an appliance reports NaN; others are not known to it."""
NOT_FOUND = "nan.not_found"
"""The rule of an end that shows that the check finds nothing."""
CHECKED = "nan.checked"
"""The rule of an attempt that ended by itself, without an error, as the check was done."""


@frozen
class NanOutcome:
    """What the records of an attempt that has ended show."""

    nodes: tuple[str, ...] = ()
    """Empty: not known."""
    checker: bool = False
    """Whether the check was on."""
    category: Category | None = None
    rule: str = ""
    root: str | None = None
    """Fingerprint of the root cause line."""
    progress: bool = False
    named: bool = False
    """Whether evidence names a node, which is left out then."""

    @property
    def is_nan(self) -> bool:
        """Whether the appliance reported NaN, and nobody knows why."""
        return self.category is Category.NUMERIC_NAN and self.rule == RULE and not self.named

    @property
    def deadlocked(self) -> bool:
        """Whether it came to a deadlock with the check, and got no further than before."""
        ended = self.category is Category.HANG or self.rule == NOT_FOUND
        return self.checker and ended and not self.progress

    def ends_check(self, after: "NanOutcome") -> bool:
        """Return whether the check has led somewhere: it got on, or a node of it is left out."""
        if self.checker and self.progress:
            return True
        return self.deadlocked and (self.named or after.is_without_node_of(self))

    def is_without_node_of(self, other: "NanOutcome") -> bool:
        """Return whether it has lost, or left out, a node of another attempt."""
        return bool(self.nodes) and not set(other.nodes) <= set(self.nodes)


def needs_checker(attempts: Sequence[NanOutcome], nodes: tuple[str, ...]) -> bool:
    """Return whether the check is on in the next attempt.

    Args:
        attempts: those of the phase that have ended, in order.
        nodes: of the next attempt; empty: not known.
    """
    on = False
    for attempt, after in pairwise((*attempts, NanOutcome(nodes=nodes))):
        on = attempt.is_nan or (on and not attempt.ends_check(after))
    return on


def unexplained_nan(attempts: Sequence[NanOutcome], nodes: tuple[str, ...]) -> str | None:
    """Return the root cause of NaN that stays unexplained if the next attempt deadlocks as well.

    None: a deadlock of it would be the first one with the check, or on other nodes.

    Args:
        attempts: those of the phase that have ended, in order.
        nodes: of the next attempt.
    """
    if not attempts or not attempts[-1].deadlocked or not needs_checker(attempts, nodes):
        return None
    return next((attempt.root for attempt in reversed(attempts) if attempt.is_nan), None)
