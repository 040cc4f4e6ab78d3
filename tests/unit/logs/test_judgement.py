"""From the text of a log to the judgement: what must not make a difference."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.job import JobState
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import LogScanner, make_matcher

MATCHER = make_matcher(load_rules(site=None))
FAILED = ExitFacts(state=JobState.FAILED, exit_code=1)

ROOTS = {
    "MemoryError": Category.OOM_HOST,
    "[rank0]: ModuleNotFoundError: No module named 'flux'": Category.CODE,
    "OSError: [Errno 28] No space left on device": Category.STORAGE_FULL,
    "srun: error: Node failure on csx3": Category.HARDWARE_NODE,
    "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB": Category.DEVICE_OOM,
    "h3:42:50 [0] NCCL WARN NET/IB : Got completion with error 12": Category.NETWORK_FABRIC,
    "ValueError: loss is NaN at step 12": Category.NUMERIC_NAN,
    "csx1 kernel: NVRM: Xid (PCI:0000:10:1c): 79, GPU has fallen off the bus": (
        Category.HARDWARE_ACCELERATOR
    ),
}
CASCADES = (
    "[rank3]: RuntimeError: Connection closed by peer [10.0.0.3]:4242",
    "[rank2]: torch.distributed.DistBackendError: ncclRemoteError: a call failed",
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
    "  exitcode  : 1 (pid: 4242)",
    "srun: error: csx2: task 2: Exited with exit code 1",
    "srun: error: csx2: tasks 4-7: Terminated",
    "slurmstepd: error: *** STEP 17.0 ON csx1 CANCELLED AT 2026-01-05T10:00:00 ***",
    "srun: Job step aborted: Waiting up to 32 seconds for job step to finish.",
    "W0105 10:00:00.1 42 api.py:99] Sending process 4242 closing signal SIGTERM",
)
ORDINARY = (
    "step {n} loss 2.{n}",
    "| Train Device=CSX, Step={n}, Loss=9.{n}, Rate=0.4 samples/sec",
    "Epoch 3:  45%|####      | {n}/1000 [00:12<00:30, 12.33it/s, loss=2.31]",
    "INFO: saved checkpoint_{n}.mdl in 3.2 s",
    "UserWarning: the scheduler was called before the optimizer",
)
NOISE = (
    "WARNING: upload failed (503 Server Error), retrying in 4 s",
    "kernel: EDAC MC1: 1 CE memory read error on CPU_SrcID#0",
    "Compilation failed, falling back to eager mode",
    "Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 32768.0",
)

roots = st.sampled_from(sorted(ROOTS))
cascades = st.lists(st.sampled_from(CASCADES), max_size=12)
ordinary = st.lists(
    st.builds(lambda text, n: text.format(n=n), st.sampled_from(ORDINARY), st.integers(1, 99)),
    max_size=60,
)


def judge(*lines: str, facts: ExitFacts = FAILED) -> Attribution:
    scanner = LogScanner(MATCHER)
    scanner.feed("".join(f"{line}\n" for line in lines).encode())
    return attribute_log(facts, scanner.findings())


def gist(it: Attribution) -> tuple[object, ...]:
    """A judgement without the place in the file."""
    text = it.root_cause.text if it.root_cause else None
    return it.category, it.rule, it.confidence, text, [one.node for one in it.blamed]


@pytest.mark.parametrize("root", ROOTS)
def test_a_root_is_known(root: str) -> None:
    assert judge(root).category is ROOTS[root]


@given(roots, cascades)
@settings(max_examples=150)
def test_cascades_after_a_root_change_nothing(root: str, after: list[str]) -> None:
    assert gist(judge(root, *after)) == gist(judge(root))


@given(roots, cascades, cascades, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_the_order_of_cascades_changes_nothing(
    root: str, before: list[str], after: list[str], rng: random.Random
) -> None:
    shuffled = [*before, *after]
    rng.shuffle(shuffled)
    middle = rng.randint(0, len(shuffled))
    moved = judge(*shuffled[:middle], root, *shuffled[middle:])
    assert gist(moved) == gist(judge(*before, root, *after))


@given(roots, ordinary, ordinary)
@settings(max_examples=150)
def test_ordinary_output_around_a_root_changes_nothing(
    root: str, before: list[str], after: list[str]
) -> None:
    assert gist(judge(*before, root, *after)) == gist(judge(root))


@given(st.lists(st.sampled_from([*NOISE, *ORDINARY]), max_size=40))
@settings(max_examples=100)
def test_noise_is_no_cause_and_exit_0_is_completed(lines: list[str]) -> None:
    assert judge(*lines).root_cause is None
    done = judge(*lines, facts=ExitFacts(state=JobState.COMPLETED, exit_code=0))
    assert done.category is Category.COMPLETED


@given(roots, cascades, st.integers(0, 2000))
@settings(max_examples=150)
def test_a_log_cut_anywhere_can_be_judged(root: str, after: list[str], cut: int) -> None:
    text = "\n".join(["step 1 loss 2.5", root, *after])
    judge(text[: cut % (len(text) + 1)])
