"""Which nodes are looked at for processes of earlier attempts, and what is said of them."""

from types import SimpleNamespace

import pytest

from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.supervise import sweep_nodes as module
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.trainer.rundir import AttemptDir, RunDir


class FakeSlurm:
    def __init__(self, answer=""):
        self.answer = answer
        self.asked = []

    def run_on_nodes(self, job_id, nodes, command):
        self.asked.append((job_id, tuple(nodes), tuple(command[-3:])))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def job(self, _job_id):
        return SimpleNamespace(nodes=("a", "b"), running=True)


class LosingSlurm(FakeSlurm):
    """A job that has lost nodes: srun fails on them."""

    def __init__(self, *left, running=True):
        super().__init__()
        self.left, self.running = left, running

    def run_on_nodes(self, job_id, nodes, command):
        super().run_on_nodes(job_id, nodes, command)
        if not set(nodes) <= set(self.left):
            raise SlurmUnavailableError("srun: error: Node failure on c")
        return ""

    def job(self, _job_id):
        return SimpleNamespace(nodes=self.left, running=self.running)


class DeadNode(FakeSlurm):
    """A job that still has a node whose slurmd does not answer."""

    def __init__(self, dead, *, shown):
        super().__init__()
        self.dead, self.shown = dead, shown

    def run_on_nodes(self, job_id, nodes, command):
        super().run_on_nodes(job_id, nodes, command)
        if self.dead in nodes:
            raise SlurmUnavailableError(f"srun: error: Task launch failed on node {self.dead}")
        return ""

    def job(self, _job_id):
        return SimpleNamespace(nodes=tuple("abcd"), running=True)

    def nodes_named(self, names):
        return [SimpleNamespace(name=each, down=self.shown and each == self.dead) for each in names]


def job(*nodes, in_place=0, held=()):
    return JobEnvironment(
        job_id=7,
        restarts=1,
        nodes=nodes,
        num_nodes=len(nodes),
        node_name=nodes[0],
        in_place=in_place,
        held=held,
    )


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Sweep before the attempt that follows these; return what was asked and said."""

    def sweep(attempts, nodes, slurm, *, here=0, in_place=0, held=()):
        monkeypatch.setattr(module, "end_orphans", lambda _: here)
        monkeypatch.setattr(RunDir, "attempts", lambda _: known)
        starts = dict(enumerate(attempts))
        monkeypatch.setattr(AttemptDir, "start", lambda self: starts[self.number][0])
        monkeypatch.setattr(AttemptDir, "end", lambda self: starts[self.number][1])
        known = tuple(AttemptDir(tmp_path / str(number), number) for number in starts)
        said = []
        attempt = AttemptDir(tmp_path / "new", len(attempts))
        allocation = job(*nodes, in_place=in_place, held=held)
        module.sweep_nodes(RunDir(tmp_path), attempt, allocation, lambda: slurm, said.append)
        return slurm.asked, said

    return sweep


def started(*nodes):
    return SimpleNamespace(nodes=nodes)


RECORDED, BACKFILLED = SimpleNamespace(backfilled=False), SimpleNamespace(backfilled=True)


@pytest.mark.parametrize(
    ("attempts", "others"),
    [
        ([], None),
        ([(started("a", "b", "c"), RECORDED)], None),
        ([(started("a", "b", "c"), None)], ("b",)),
        ([(started("a", "b", "c"), BACKFILLED)], ("b",)),
        ([(started("b"), None), (started("a", "d"), RECORDED)], ("b",)),
        ([(started("a"), None)], None),
        ([(None, None)], None),
    ],
)
def test_other_nodes_are_looked_at_after_an_end_that_nobody_recorded(
    sweep, tmp_path, attempts, others
):
    asked, _ = sweep(attempts, ("a", "b", "d"), FakeSlurm())
    arguments = (str(tmp_path), str(len(attempts)), "7")
    assert asked == ([] if others is None else [(7, others, arguments)])


def test_all_nodes_are_looked_at_after_a_restart_in_place(sweep, tmp_path):
    attempts = [(started("a", "b", "c"), RECORDED)]
    asked, _ = sweep(attempts, ("a", "b", "c"), FakeSlurm(), in_place=1)
    assert asked == [(7, ("b", "c"), (str(tmp_path), "1", "7"))]
    with pytest.raises(RuntimeError, match="on b: not known"):
        sweep(attempts, ("a", "b"), FakeSlurm(SlurmUnavailableError("silent")), in_place=1)


def test_what_was_found_is_said(sweep):
    _, said = sweep([(started("a", "b"), None)], ("a", "b"), FakeSlurm("b 3\n"), here=2)
    assert said == [
        "3 processes of earlier attempts were killed on b",
        "2 processes of earlier attempts were killed on a",
    ]


def test_a_node_that_the_attempt_does_not_have_is_named(sweep):
    _, said = sweep([(started("a", "b"), None)], ("a", "c"), FakeSlurm())
    (line,) = said
    assert line == (
        "attempt 0 has no end record, and b is not among the nodes of this one: if it still runs, "
        "its processes there may go on writing"
    )


def test_without_an_answer_the_attempt_starts_all_the_same(sweep):
    slurm = FakeSlurm(SlurmUnavailableError("srun: no answer within 30 s"))
    _, said = sweep([(started("a", "b"), None)], ("a", "b"), slurm)
    assert said == ["processes of earlier attempts on b: not known: srun: no answer within 30 s"]


@pytest.mark.parametrize(
    ("left", "asked"),
    [
        (("a", "b", "d"), [("b", "c", "d"), ("b", "d")]),
        (("a",), [("b", "c", "d")]),
    ],
)
def test_a_node_that_is_lost_meanwhile_is_left_out(sweep, left, asked):
    attempts, nodes = [(started(*"abcd"), RECORDED)], tuple("abcd")
    found, said = sweep(attempts, nodes, LosingSlurm(*left), in_place=1)
    assert ([names for _, names, _ in found], said) == (asked, [])


@pytest.mark.parametrize("slurm", [LosingSlurm("a", "b", running=False), LosingSlurm(*"abcd")])
def test_a_job_that_has_lost_no_node_does_not_start(sweep, slurm):
    slurm.run_on_nodes = FakeSlurm(SlurmUnavailableError("silent")).run_on_nodes
    with pytest.raises(RuntimeError, match="on b,c,d: not known"):
        sweep([(started(*"abcd"), RECORDED)], tuple("abcd"), slurm, in_place=1)


@pytest.mark.parametrize(
    ("shown", "asked", "why"),
    [
        (True, [("b", "c")], "Slurm: no response, or DOWN"),
        (False, [("b", "c", "d"), ("b", "c")], "srun: error: Task launch failed on node d"),
    ],
)
def test_a_dead_node_that_the_attempt_does_not_use_is_no_obstacle(sweep, shown, asked, why):
    """Slurm gives it up only after SlurmdTimeout, and peers of its ranks end before that."""
    attempts, slurm = [(started(*"abcd"), RECORDED)], DeadNode("d", shown=shown)
    found, said = sweep(attempts, tuple("abc"), slurm, in_place=1, held=tuple("abcd"))
    assert [names for _, names, _ in found] == asked
    assert said == [f"processes of earlier attempts on d: not known: {why}"]


def test_a_dead_node_that_it_uses_is_one(sweep):
    attempts, slurm = [(started(*"abcd"), RECORDED)], DeadNode("c", shown=False)
    with pytest.raises(RuntimeError, match="on b,c: not known"):
        sweep(attempts, tuple("abc"), slurm, in_place=1, held=tuple("abcd"))
