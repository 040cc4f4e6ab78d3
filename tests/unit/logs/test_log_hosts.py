"""The node of a faulty device is blamed where the log proves its host; permuted with the hosts."""

import re
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_restart.core.attribution import Attribution

from .judge_text import judge_text

NODES = ("n1", "n2", "n3", "n4")
ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
LOST = "torch.distributed.DistBackendError: NCCL error: remote process exited or there was an error"
TABLE = """\
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-01-05_10:00:00
  host      : {host}
  rank      : 9 (local_rank: 1)
  exitcode  : 1 (pid: 77)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
"""
NCCL = """\
n1:100:190 [0] NCCL INFO comm 0x55d0 rank 0 nranks 2 cudaDev 0 busId 1c0 - Init COMPLETE
n3:100:190 [0] NCCL INFO ncclCommInitRank comm 0x77d0 rank 1 nranks 2 cudaDev 0 nvmlDev 0 \
busId 1c0 commId 0x12 - Init COMPLETE
"""

CULPRITS = {
    "the task that exited": f"""\
[rank9]: {ECC}
srun: error: n3: task 9: Exited with exit code 1
srun: error: n1: tasks 0-3: Terminated
""",
    "the task that aborted": f"""\
[rank9]: {ECC}
srun: error: n3: task 9: Aborted (core dumped)
srun: error: n1: tasks 0-3: Terminated
srun: error: n3: tasks 8,10-11: Terminated
""",
    "srun --label, and peers that exit as well": f"""\
9: {ECC}
0: {LOST}
srun: error: n3: tasks 8-11: Exited with exit code 1
srun: error: n1: tasks 0-3: Exited with exit code 1
""",
    "srun --label with leading zeros and a traceback": f"""\
0: step 10 | loss 2.1
09: Traceback (most recent call last):
09:   File "train.py", line 3, in <module>
09: {ECC}
04: {LOST}
srun: error: n2: tasks 4-7: Exited with exit code 1
srun: error: n3: tasks 8-11: Exited with exit code 1
""",
    "srun --label, and a task that was terminated": f"""\
9: {ECC}
srun: error: n1: task 0: Exited with exit code 1
srun: error: n3: tasks 8-11: Terminated
""",
    "srun --label over torchrun": f"""\
2: [rank9]: {ECC}
2: [rank8]: {LOST}
srun: error: n3: task 2: Exited with exit code 1
srun: error: n1: task 0: Exited with exit code 1
""",
    "torchrun's table": f"[rank9]: {ECC}\n" + TABLE.format(host="n3"),
    "torchrun's table with a domain": f"[rank9]: {ECC}\n" + TABLE.format(host="n3.site.org"),
    "torchrun's tables of two agents at the same time": f"""\
2: [rank9]: {ECC}
2:   host      : n3
0:   host      : n1
2:   rank      : 9 (local_rank: 1)
0:   rank      : 0 (local_rank: 0)
""",
    "one task a node, of which one ended of itself": f"""\
[rank2]: {ECC}
srun: error: n3: task 2: Exited with exit code 1
srun: error: n1: task 0: Terminated
srun: error: n2: task 1: Terminated
""",
    "mpirun --tag-output": f"""\
[1,9]<stderr>: {ECC}
[1,1]<stderr>: {LOST}
mpirun noticed that process rank 9 with PID 42 on node n3 exited on signal 6 (Aborted).
""",
    "pdsh": f"n3: {ECC}\nn1: {LOST}\n",
    "a name with its domain before the line": f"n3.site.org: {ECC}\n",
    "slurmstepd": "slurmstepd-n3: error: NVML: Failed to get usage(15): GPU is lost\n",
    "NCCL": "n3:1100:1190 [2] enqueue.cc:99 NCCL WARN Cuda failure 'uncorrectable ECC error'\n",
    "prolog": "error: Prolog failed on node n3 with exit code 1\n",
    "the only process that says anything": f"""\
{ECC}
srun: error: n3: task 9: Exited with exit code 1
srun: error: n1: tasks 0-3: Terminated
""",
    "a likely fault of one of the ranks": """\
9: RuntimeError: CUDA error: no CUDA-capable device is detected
srun: error: n3: tasks 8-11: Exited with exit code 1
srun: error: n1: tasks 0-3: Terminated
""",
}
CULPRITS["the communicator of all ranks"] = (
    NCCL
    + f"""\
[rank1]: {ECC}
[rank0]: {LOST}
srun: error: n3: task 1: Exited with exit code 1
srun: error: n1: task 0: Exited with exit code 1
"""
)
PRINTED = (
    "Process  9 of  32 is running on n3",
    "Rank 9 running on host n3.site.org",
    "rank 9 on node n3",
    "Hello from rank 9 of 32 on host n3",
    "MPI Rank 9/32 started on node n3.",
    "#  Rank  9 Group  0 Pid  30443 on         n3 device  0 [0x07] NVIDIA A100-SXM4-80GB",
)
CULPRITS.update({line: f"{line}\n[rank0]: {LOST}\n[rank9]: {ECC}\n" for line in PRINTED})
CULPRITS.update(
    {
        f"the communicator of all ranks at its {step}": NCCL.replace("Init COMPLETE", step)
        + f"[rank1]: {ECC}\n"
        for step in ("Init START", "Abort COMPLETE", "Destroy COMPLETE")
    }
)
NAME_ERROR = "NameError: name 'x' is not defined"
INNOCENT = {
    "software in torchrun's table": f"[rank9]: {NAME_ERROR}\n" + TABLE.format(host="n3"),
    "software of a labelled task": f"9: {NAME_ERROR}\n"
    "srun: error: n3: tasks 8-11: Exited with exit code 1\n",
    "a peer": "Connection closed by remote peer n3<51159>\n",
    "a rank within a node that is printed": f"local rank 9 running on n3\n[rank9]: {ECC}\n",
    "a device that is printed": f"Rank 9 running on gpu3\n[rank9]: {ECC}\n",
    "another rank that is printed": f"Rank 8 running on n3\n[rank9]: {ECC}\n",
    "printed hosts that disagree": f"Rank 9 running on n3\nRank 9 running on n1\n[rank9]: {ECC}\n",
    "the reporter of a peer": f"0: {LOST}\nsrun: error: n3: tasks 0-3: Exited with exit code 1\n",
    "terminated tasks": f"[rank9]: {ECC}\nsrun: error: n3: tasks 8-11: Terminated\n",
    "killed tasks": f"[rank9]: {ECC}\nsrun: error: n3: task 9: Killed\n",
    "more ranks than tasks": f"""\
[rank1]: {ECC}
[rank17]: {LOST}
srun: error: n3: task 1: Exited with exit code 1
srun: error: n1: task 0: Exited with exit code 1
""",
    "one task a node, of which several ended": f"""\
[rank1]: {ECC}
srun: error: n3: task 1: Exited with exit code 1
srun: error: n1: task 0: Exited with exit code 1
""",
    "another rank in the table": f"[rank4]: {ECC}\n" + TABLE.format(host="n3"),
    "a rank of a communicator without all processes": NCCL
    + "n1:101:190 [1] NCCL INFO comm 0x5500 rank 0 nranks 1 cudaDev 1 busId 1d0 - Init COMPLETE\n"
    + f"[rank1]: {ECC}\n",
    "a rank within a node": f"[default1]: {ECC}\n" + TABLE.format(host="n3"),
    "an error that several hosts have": f"""\
0: {ECC}
9: {ECC}
srun: error: n1: tasks 0-3: Exited with exit code 1
srun: error: n3: tasks 8-11: Exited with exit code 1
""",
    "a missing device, and one of unknown place": """\
9: RuntimeError: CUDA error: no CUDA-capable device is detected
7: RuntimeError: CUDA error: no CUDA-capable device is detected
srun: error: n3: tasks 8-11: Exited with exit code 1
""",
    "a task that two lines place": f"""\
9: {ECC}
srun: error: n3: task 9: Exited with exit code 1
srun: error: n1: task 9: Exited with exit code 1
""",
    "an unlabelled line beside a peer's": f"""\
{ECC}
{LOST}
srun: error: n3: task 9: Exited with exit code 1
""",
    "a role": f"gpu3: {ECC}\nworker-3: {ECC}\n",
    "a step of an earlier attempt": f"""\
srun: error: n3: tasks 8-11: Exited with exit code 1
slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-05T10:00:00 DUE TO JOB REQUEUE ***
[rank9]: {ECC}
""",
}


def judge(text: str, nodes: tuple[str, ...] = NODES) -> Attribution:
    return judge_text(text, nodes=nodes)


def blamed(text: str, nodes: tuple[str, ...] = NODES) -> list[str]:
    return [blame.node for blame in judge(text, nodes).blamed]


def renamed(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\bn[1-4]\b", lambda found: names[found[0]], text)


@pytest.mark.parametrize("text", CULPRITS.values(), ids=CULPRITS)
def test_a_culprit_is_blamed(text: str) -> None:
    found = judge(text)
    assert found.category.value in {"hardware.accelerator", "hardware.node"}
    assert [blame.node for blame in found.blamed] == ["n3"]
    assert "n3" in found.blamed[0].evidence


@pytest.mark.parametrize("text", CULPRITS.values(), ids=CULPRITS)
def test_a_culprit_is_blamed_where_the_jobs_nodes_are_not_known(text: str) -> None:
    assert [name.split(".")[0] for name in blamed(text, ())] == ["n3"]


@pytest.mark.parametrize("text", INNOCENT.values(), ids=INNOCENT)
def test_nobody_is_blamed(text: str) -> None:
    assert blamed(text) == []
    assert blamed(text, ()) == []


@pytest.mark.parametrize("text", CULPRITS.values(), ids=CULPRITS)
@pytest.mark.parametrize("order", list(permutations(NODES))[1::5])
def test_permuted_hosts_permute_the_blame(text: str, order: tuple[str, ...]) -> None:
    names = dict(zip(NODES, order, strict=True))
    assert blamed(renamed(text, names)) == [names["n3"]]
    assert blamed(text, order) == ["n3"]


@pytest.mark.parametrize("text", CULPRITS.values(), ids=CULPRITS)
def test_a_node_of_another_job_is_not_blamed(text: str) -> None:
    assert blamed(text, ("n1", "n2", "n4")) == []


@pytest.mark.parametrize("text", CULPRITS.values(), ids=CULPRITS)
def test_a_log_that_is_cut_anywhere_never_blames_another(text: str) -> None:
    for length in range(len(text)):
        for nodes in (NODES, ()):
            assert set(blamed(text[:length], nodes)) <= {"n3", "n3.site.org"}


@given(st.sampled_from(list(CULPRITS.values())), st.integers(1, 60))
@settings(max_examples=60)
def test_pieces_of_any_size_give_the_same(text: str, size: int) -> None:
    assert judge_text(text, nodes=NODES, size=size) == judge(text)
