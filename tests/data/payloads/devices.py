"""Ranks of which the last meets a faulty device, and what programs and launchers print then.

No device is needed: the texts are those of PyTorch, torchrun, pdsh and NCCL.
"""

import os
import sys
import time

from usual import train

TASK = int(os.environ["SLURM_PROCID"])
TASKS = int(os.environ["SLURM_NTASKS"])
NODE = os.environ["SLURMD_NODENAME"]
LAST = TASK == TASKS - 1
ECC = "CUDA error: uncorrectable ECC error encountered"


def say(front, *lines):
    """Print lines at once, so that those of other tasks do not stand between them."""
    sys.stderr.write("".join(f"{front}{line}\n" for line in lines))
    sys.stderr.flush()


def exception(front, text):
    say(
        front,
        "Traceback (most recent call last):",
        '  File "train.py", line 88, in <module>',
        "    loss.backward()",
        text,
    )
    sys.exit(1)


def wait_for_the_end():
    """Wait until srun ends the step."""
    time.sleep(3600)  # the kill of srun interrupts it


def rank():
    """PyTorch under srun: the rank ends with exit code 1, and srun terminates all others."""
    train(3, rank=TASK)
    if not LAST:
        wait_for_the_end()
    exception(f"[rank{TASK}]: ", f"RuntimeError: {ECC}")


def peers():
    """All ranks end of themselves: the others have lost a peer."""
    train(3)
    if LAST:
        exception("", f"torch.AcceleratorError: {ECC}")
    lost = "NCCL error: remote process exited or there was a network error"
    exception("", f"torch.distributed.DistBackendError: {lost}")


def table():
    """One torchrun a node with two ranks each: the rank of the fault is not the task."""
    first, last = 2 * TASK, 2 * TASK + 1
    for number in (first, last):
        train(3, rank=number)
    if not LAST:
        wait_for_the_end()
    say(f"[rank{last}]: ", f"RuntimeError: {ECC}")
    say(
        "",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
        "=" * 60,
        "train.py FAILED",
        "-" * 60,
        "Failures:",
        "  <NO_OTHER_FAILURES>",
        "-" * 60,
        "Root Cause (first observed failure):",
        "[0]:",
        "  time      : 2026-01-05_10:00:00",
        f"  host      : {NODE}",
        f"  rank      : {last} (local_rank: 1)",
        f"  exitcode  : 1 (pid: {os.getpid()})",
        "  error_file: <N/A>",
        "=" * 60,
    )
    sys.exit(1)


def prefixed():
    """A launcher that puts the host before each line, such as pdsh."""
    train(3)
    if LAST:
        exception(f"{NODE}: ", f"RuntimeError: {ECC}")
    exception(f"{NODE}: ", "RuntimeError: Connection closed by peer")


def nccl():
    """NCCL names host and process, and the program ends without a message of its own."""
    train(3)
    if LAST:
        front = f"{NODE}:{os.getpid()}:{os.getpid()} [1] "
        say(
            front,
            "NCCL INFO Using network Socket",
            "enqueue.cc:1402 NCCL WARN Cuda failure 'uncorrectable ECC error encountered'",
            "NCCL INFO enqueue.cc:1500 -> 1",
        )
    os._exit(1)


globals()[sys.argv[1]]()
