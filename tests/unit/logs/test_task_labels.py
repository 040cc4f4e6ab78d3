"""A faulty device behind a label of srun blames the node on which Slurm has placed the task."""

import pytest

from slurm_restart.core.task_layout import task_layout
from slurm_restart.supervise.job_environment import JobEnvironment

from .judge_text import judge_text

NODES = ("n1", "n2", "n3")
ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
LOST = "torch.distributed.DistBackendError: NCCL error: remote process exited or there was an error"
LOG = f"""\
0: step 10 | loss 2.1
4: Traceback (most recent call last):
4:   File "train.py", line 3, in <module>
4: {ECC}
0: {LOST}
5: {LOST}
"""


def blamed(text: str, layout: tuple[str, ...], nodes: tuple[str, ...] = NODES) -> list[str]:
    return [blame.node for blame in judge_text(text, nodes=nodes, layout=layout).blamed]


@pytest.mark.parametrize(
    ("distribution", "node"), [("block", "n3"), ("cyclic", "n2"), ("block:cyclic", "n3")]
)
def test_the_node_of_the_task_is_blamed(distribution: str, node: str) -> None:
    assert blamed(LOG, task_layout(NODES, (2, 2, 2), distribution)) == [node]


def test_the_distribution_need_not_be_known_where_each_node_has_one_task() -> None:
    nodes = tuple(f"n{number}" for number in range(6))
    assert blamed(LOG, task_layout(nodes, (1,) * 6, None), nodes) == ["n4"]


@pytest.mark.parametrize("distribution", ["arbitrary", "plane", None])
def test_an_unknown_layout_blames_nobody(distribution: str | None) -> None:
    assert blamed(LOG, task_layout(NODES, (2, 2, 2), distribution)) == []


@pytest.mark.parametrize("counts", [(3, 3, 3), (2, 1, 1)])
def test_a_step_with_another_number_of_tasks_blames_nobody(counts: tuple[int, ...]) -> None:
    assert blamed(LOG, task_layout(NODES, counts, "block")) == []


def test_a_line_of_srun_that_contradicts_the_layout_wins() -> None:
    text = LOG + "srun: error: n1: task 5: Exited with exit code 1\n"
    assert blamed(text, task_layout(NODES, (2, 2, 2), "block")) == []


def test_a_line_of_srun_that_agrees_changes_nothing() -> None:
    text = LOG + "srun: error: n3: tasks 4-5: Exited with exit code 1\n"
    assert blamed(text, task_layout(NODES, (2, 2, 2), "block")) == ["n3"]


def test_faults_of_tasks_on_two_nodes_blame_neither() -> None:
    assert blamed(f"{LOG}2: {ECC}\n", task_layout(NODES, (2, 2, 2), "block")) == []


def test_an_error_of_the_program_blames_nobody() -> None:
    text = LOG.replace(ECC, "NameError: name 'x' is not defined")
    assert blamed(text, task_layout(NODES, (2, 2, 2), "block")) == []


ENV = {
    "SLURM_JOB_NODELIST": "n[1-3]",
    "SLURM_NTASKS": "5",
    "SLURM_TASKS_PER_NODE": "2(x2),1",
}


@pytest.mark.parametrize(
    ("changed", "layout"),
    [
        ({}, "n1 n1 n2 n2 n3"),
        ({"SLURM_DISTRIBUTION": "cyclic"}, "n1 n2 n3 n1 n2"),
        ({"SLURM_DISTRIBUTION": "plane"}, ""),
        ({"SLURM_NTASKS": "6"}, ""),
        ({"SLURM_NTASKS": ""}, ""),
        ({"SLURM_TASKS_PER_NODE": ""}, ""),
        ({"SLURM_HET_SIZE": "2"}, ""),
    ],
)
def test_the_supervisor_reads_the_layout_from_the_job(changed: dict[str, str], layout: str) -> None:
    assert JobEnvironment.read(ENV | changed).layout == tuple(layout.split())
