"""Choose the nodes of an attempt among those of its job, before its program is started.

Nodes that the site drains, that Slurm loses or that fail the health check are left out where the
run can go on without them in its allocation. A requeue would find others, but may wait for them for
hours.
"""

from collections.abc import Callable, Mapping
from dataclasses import field

from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.placement import place
from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.ask_allocation import AllocationQuestion
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.node_health import (
    RULE,
    DueCheck,
    NodesError,
    check_nodes,
    drained_nodes,
)
from slurm_restart.trainer.run_plan import RunPlan


@frozen
class ChosenNodes:
    """The nodes of an attempt."""

    job: JobEnvironment
    """The allocation with the nodes of the attempt."""
    unhealthy: Mapping[str, str] = field(default_factory=dict)
    """Nodes of the job that the attempt does not use, as they have failed the health check, with
    what was found there."""


@frozen
class NodeChoice:
    """The choice for one attempt whose nodes are to be checked.

    Args:
        due: the check.
        slurm: returns the cluster.
        log: called with a line about what was found.
        warn: called with a line that the user should know.
    """

    due: DueCheck
    slurm: Callable[[], Slurm]
    log: Callable[[str], None]
    warn: Callable[[str], None]

    def choose(self, job: JobEnvironment) -> ChosenNodes:
        """Return the nodes of the attempt; where Slurm cannot start the check, it is left out.

        Args:
            job: the allocation, with the nodes that the attempt is to have if they are healthy.

        Raises:
            NodesError: the attempt cannot start in this allocation without the nodes that are not
                healthy, or no other node reaches the batch host.
            ConfigError: the check itself is at fault, as it fails on all nodes.
            TimeoutError: no node has answered.
        """
        chosen, drained, unhealthy = job, dict[str, str](), dict[str, str]()
        try:
            if drained := drained_nodes(self.slurm(), job.nodes):
                chosen = self._leave(job, NodesError(Category.NODE_DRAINED, drained))
            chosen, unhealthy = self._check(chosen)
        except SlurmError as error:
            self.warn(f"the nodes are not checked: {error}")
        # A node that the site resumes may take the place of another later.
        chosen = chosen.with_spares({*chosen.spares, *drained})
        return ChosenNodes(job=chosen, unhealthy=unhealthy)

    def _check(self, job: JobEnvironment) -> tuple[JobEnvironment, dict[str, str]]:
        """Return the allocation without unhealthy nodes, and what was found on these."""
        try:
            unhealthy = check_nodes(self.due, job, self.slurm(), self.log)
            chosen = job.with_spares({*job.spares}.difference(unhealthy))
        except NodesError as error:
            if not error.left:
                raise
            chosen, unhealthy = self._leave(job, error), error.left
        for node in (name for name in job.spares if name in unhealthy):
            text = f"the spare {node} is not used, as it fails the health check: {unhealthy[node]}"
            self.warn(text)
        passed = format_hostlist({*chosen.nodes, *chosen.spares})
        self.log(f"health check passed on {passed}")
        return chosen, unhealthy

    def _leave(self, job: JobEnvironment, found: NodesError) -> JobEnvironment:
        return leave_nodes(self.due.plan, job, found, slurm=self.slurm, warn=self.warn)


def leave_nodes(
    plan: RunPlan,
    job: JobEnvironment,
    found: NodesError,
    *,
    slurm: Callable[[], Slurm],
    warn: Callable[[str], None],
) -> JobEnvironment:
    """Return the allocation with an attempt on other nodes than those that are not healthy.

    Args:
        plan: the phase.
        job: the allocation, with the nodes that the attempt was to have.
        found: these nodes, and what was found there.
        slurm: returns the cluster.
        warn: called with a line about the nodes that the attempt has instead, or why it has none.

    Raises:
        NodesError: `found`, as no attempt can start in this allocation without them.
    """
    # A run that leaves drained nodes is to give them back.
    given_back = plan.leave_drained and found.category is Category.NODE_DRAINED
    if plan.policy is None or not plan.policy.recovery.in_place or given_back:
        raise found
    question = AllocationQuestion(slurm, plan, job)
    question.run()
    attribution = Attribution(
        category=found.category,
        rule=RULE,
        confidence=Confidence.CERTAIN,
        blamed=tuple(Blame(node=node, evidence=text) for node, text in found.left.items()),
    )
    placement = place(attribution, question.allocation(doubt=None))
    if isinstance(placement, str):
        warn(f"no start in this allocation: {placement}")
        raise found
    warn(f"{placement.action.value}: {placement.reason}")
    return job.on(placement.nodes, placement.spares)
