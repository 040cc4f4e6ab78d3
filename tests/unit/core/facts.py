"""Facts for the tests of the core, with defaults for what a test does not care about."""

from typing import Any

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.fit_pending import Observation
from slurm_restart.core.history import History, replay
from slurm_restart.core.job import Job, JobEnd, JobFlag, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import Action, EndEvent, Event, IntendEvent
from slurm_restart.core.judge_end import EndCase
from slurm_restart.core.plan import RunView
from slurm_restart.core.restart_limits import Policy, SitePolicy, policy_for
from slurm_restart.core.situation import Progress, Situation

SUBMITTED = 1_000_000
RUN = "0123456789abcdef"
COMPLETING = JobFlag.COMPLETING
NODES = ("csx1", "csx2", "csx3", "csx4")


def comment_record(**changes: Any) -> CommentRecord:
    """The comment record of attempt 0 of a run of three nodes, which has ended."""
    values: dict[str, Any] = {
        "run": RUN,
        "max_restarts": 3,
        "num_nodes": 3,
        "min_nodes": 2,
        "attempt": 0,
        "submit": SUBMITTED,
        "restarts": 0,
        "from_step": 0,
        "step": 0,
        "ended": True,
        "exit": 1,
        "cause": Category.UNKNOWN,
    }
    return CommentRecord(**values | changes)


def end(**changes: Any) -> JobEnd:
    """An end with exit code 1, as the hook sees it on 22.05: without a base state."""
    values: dict[str, Any] = {
        "cluster": "c",
        "job_id": 7,
        "uid": 1000,
        "submit_time": SUBMITTED,
        "exit_code": 1,
        "signal": 0,
        "reason": "NonZeroExitCode",
        "restarts": 0,
        "env_restarts": 0,
        "nodes": NODES[:3],
        "run_time": 600,
        "time_limit": 3600,
    }
    return JobEnd(**values | changes)


def job(**changes: Any) -> Job:
    """The job as Slurm shows it."""
    values: dict[str, Any] = {
        "job_id": 7,
        "uid": 1000,
        "state": None,
        "submit_time": SUBMITTED,
        "num_nodes": 3,
        "partitions": ("main",),
        "priority": 100,
    }
    return Job(**values | changes)


def pending(**changes: Any) -> Job:
    """The job while it waits."""
    return job(**{"state": JobState.PENDING, "eligible_time": SUBMITTED} | changes)


def nodes(**states: str) -> tuple[NodeState, ...]:
    """Four idle nodes; `csx2="DOWN"` changes one, `csx2="IDLE+DRAIN"` adds flags."""
    found = []
    for name in NODES:
        state, *flags = states.get(name, "IDLE").split("+")
        found.append(
            NodeState(
                name=name, state=state, flags=frozenset(flags), partitions=frozenset({"main"})
            )
        )
    return tuple(found)


def policy(site: SitePolicy | None = None, **changes: Any) -> Policy:
    """The policy of the comment record."""
    return policy_for(comment_record(**changes), site or SitePolicy())


def attribution(category: Category, **changes: Any) -> Attribution:
    """An attribution to that category."""
    return Attribution(category=category, rule="test", confidence=Confidence.CERTAIN, **changes)


def ended(category: Category = Category.UNKNOWN, **changes: Any) -> EndEvent:
    """An end on record that was restarted."""
    values: dict[str, Any] = {
        "at": SUBMITTED,
        "submit_time": SUBMITTED,
        "restarts": 0,
        "requeued": False,
        "category": category,
        "rule": "test",
        "action": Action.REQUEUE,
        "reason": "",
        "attempt": 0,
        "progress": False,
        "from_step": 0,
        "step": 0,
    }
    return EndEvent(**values | changes)


def attempts(count: int, category: Category = Category.UNKNOWN, **changes: Any) -> History:
    """A history of so many ends, one after the other."""
    events: list[Event] = [
        ended(category, attempt=n, submit_time=SUBMITTED - 1000 + n, restarts=n, **changes)
        for n in range(count)
    ]
    return replay(events)


def situation(
    category: Category, history: History | None = None, *, made: bool | None = False, **changes: Any
) -> Situation:
    """A situation at step 0."""
    values: dict[str, Any] = {
        "attribution": attribution(category),
        "progress": Progress(made=made, attempt=0, from_step=0, step=0),
        "policy": policy(),
        "history": history or History(),
        "restarts": 0,
        "run_time": 600,
    }
    return Situation(**values | changes)


def case(**changes: Any) -> EndCase:
    """A whole case: attempt 0 of the run has ended with exit code 1."""
    values: dict[str, Any] = {
        "end": end(),
        "job": job(),
        "comment_record": comment_record(),
        "named": (),
        "nodes": nodes(),
        "history": History(),
        "site": SitePolicy(),
        "now": SUBMITTED + 600,
        "index": 0,
    }
    return EndCase(**values | changes)


def observation(**changes: Any) -> Observation:
    """The job of `job` in a healthy cluster, 600 s after its submission."""
    values: dict[str, Any] = {
        "job": job(),
        "comment_record": comment_record(),
        "nodes": nodes(),
        "reserved": None,
        "cluster": ClusterFacts(),
        "site": SitePolicy(),
        "now": float(SUBMITTED + 600),
    }
    return Observation(**values | changes)


def view(*, history: History | None = None, end_: JobEnd | None = None, **changes: Any) -> RunView:
    """The view of a run whose attempt 0 ends with exit code 1; further names are Observation's."""
    own = {
        "named", "source", "observe", "born", "stale_running_after", "earlier", "resumed_as",
    }  # fmt: skip
    rest = {name: value for name, value in changes.items() if name not in own}
    return RunView(
        history=history or History(),
        seen=observation(**rest),
        end=end_ or end(),
        **{name: value for name, value in changes.items() if name in own},
    )


def intent(**changes: Any) -> IntendEvent:
    """Values that this plugin has wanted for the job after its first end."""
    values: dict[str, Any] = {
        "at": SUBMITTED, "submit_time": SUBMITTED, "attempt": 0, "operations": (),
    }  # fmt: skip
    return IntendEvent(**values | changes)
