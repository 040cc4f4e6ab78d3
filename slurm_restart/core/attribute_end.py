"""Attribute an end to a cause: Slurm's facts first, then the job's self-report."""

from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.category import Category, Nodes
from slurm_restart.core.end_facts import EndFacts
from slurm_restart.core.end_rules import SELF_REPORT_RULES, first_match


def attribute_end(facts: EndFacts) -> Attribution:
    """Attribute one end.

    Args:
        facts: Slurm's facts and the job's self-report.
    """
    rule = first_match(facts)
    category, rule_id, root_hash, put_off = rule.category, rule.id, None, False
    report = facts.final_report
    if rule.id in SELF_REPORT_RULES and report is not None and facts.cause is not None:
        category, rule_id, root_hash = facts.cause, report.rule or rule.id, report.root
        put_off = report.put_off and category.recoverable
    return Attribution(
        category=category,
        rule=rule_id,
        confidence=rule.confidence,
        blamed=_blame(facts, category),
        reported=tuple(name for name in facts.named if name not in facts.end.nodes),
        root_hash=root_hash,
        put_off=put_off,
        requeued=facts.requeued,
        lost=facts.end.lost,
    )


def _blame(facts: EndFacts, category: Category) -> tuple[Blame, ...]:
    """Return the job's nodes that Slurm shows down, then those that the self-report names."""
    if category.nodes is Nodes.NONE:
        return ()
    own = set(facts.end.nodes)
    blamed = {
        node.name: Blame(node=node.name, evidence=f"Slurm: {node.state} {node.reason}".strip())
        for node in facts.end.down_nodes
        if node.name in own
    }
    for name in facts.named:
        if name in own and name not in blamed:
            blamed[name] = Blame(node=name, evidence=_reported_evidence(facts, category, name))
    return tuple(blamed.values())


def _reported_evidence(facts: EndFacts, category: Category, name: str) -> str:
    report = facts.self_report
    if category is Category.HEALTH_CHECK:
        said = None if report is None else report.said
        if said is None:
            return "health check"
        # The record has room for what was found on one node.
        found = said.replace("_", " ") if name == facts.named[0] else "see run.log"
        return f"health check: {found}"
    rule = None if report is None else report.rule
    return f"the job's log: {rule or category.value}"
