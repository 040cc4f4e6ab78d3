"""Who printed a line, and on which host: by the front of the line alone."""

import pytest

from slurm_restart.core.finding import Speaker
from slurm_restart.logs.lines import split_label
from slurm_restart.logs.speakers import identify_speaker

LINES = {
    # Slurm's daemons.
    "slurmstepd: error: execve(): trainer: No such file or directory": (Speaker.SLURM, ""),
    "slurmstepd-n3: error: NVML: Failed to get usage(15): GPU is lost": (Speaker.SLURM, "n3"),
    "4: slurmstepd-hgx-12: error: *** STEP 7.0 CANCELLED ***": (Speaker.SLURM, "hgx-12"),
    "slurmd[csx1]: *** JOB 17 CANCELLED AT 2026-01-05T10:00:00 ***": (Speaker.SLURM, "csx1"),
    "2026-01-05T10:00:00 slurmstepd-n3: error: x": (Speaker.SLURM, "n3"),
    "Jan  5 10:00:00 n3 slurmd[812]: error: x": (Speaker.SLURM, "n3"),
    "slurmctld: error: Nodes csx[3-4] not responding, setting DOWN": (Speaker.SLURM, ""),
    # The kernel.
    "kernel: NVRM: Xid (PCI:0000:dc:00): 79, pid=1": (Speaker.KERNEL, ""),
    "csx1 kernel: NVRM: Xid (PCI:0000:10:1c): 79": (Speaker.KERNEL, "csx1"),
    "Jan 05 10:00:00 n3 kernel: EXT4-fs error": (Speaker.KERNEL, "n3"),
    "[ 1234.567890] nvme nvme0: I/O timeout": (Speaker.KERNEL, ""),
    # Launchers.
    "srun: error: n3: task 9: Exited with exit code 1": (Speaker.LAUNCHER, "n3"),
    "srun: error: n[1-2]: tasks 0-3: Aborted": (Speaker.LAUNCHER, ""),
    "srun: error: Node failure on csx3": (Speaker.LAUNCHER, "csx3"),
    "srun: Job step aborted: Waiting up to 32 seconds": (Speaker.LAUNCHER, ""),
    "[proxy:0:1@n3] HYD_pmcd_pmip_control_cmd_cb: x": (Speaker.LAUNCHER, "n3"),
    "mpirun was unable to launch the specified application": (Speaker.LAUNCHER, ""),
    "torchrun: error: unrecognized arguments: --x": (Speaker.LAUNCHER, ""),
    "W0105 10:00:00.1 42 torch/distributed/elastic/agent.py:9] x": (Speaker.LAUNCHER, ""),
    # Libraries.
    "n3:1100:1190 [2] NCCL INFO Using network IB": (Speaker.LIBRARY, "n3"),
    "n3:1100:1190 [2] transport/p2p.cc:150 NCCL WARN Cuda failure 'x'": (Speaker.LIBRARY, "n3"),
    "7: n3:1100:1190 [2] NCCL WARN x": (Speaker.LIBRARY, "n3"),
    "[1699999999.123456] [n3:1234 :0] ib_mlx5_log.c:1 UCX ERROR x": (Speaker.LIBRARY, "n3"),
    "libfabric:77:1699:efa:ep_ctrl:x():1<warn> y": (Speaker.LIBRARY, ""),
    "E0105 10:00:00.123456 42 external/xla/x.cc:9] y": (Speaker.LIBRARY, ""),
    # The container runtime, also in Slurm's daemons.
    "slurmstepd: error: pyxis: couldn't start container": (Speaker.CONTAINER, ""),
    "slurmstepd-n4: error: pyxis: child 7 failed": (Speaker.CONTAINER, "n4"),
    "enroot-mount: failed to mount: /data": (Speaker.CONTAINER, ""),
    "FATAL:   could not open image /a.sif": (Speaker.CONTAINER, ""),
    "docker: Error response from daemon: x": (Speaker.CONTAINER, ""),
    # The shell and its tools.
    "/var/spool/job17/slurm_script: line 9: conda: command not found": (Speaker.SHELL, ""),
    "bash: ./a.out: Permission denied": (Speaker.SHELL, ""),
    "rm: cannot remove 'restart.old': No such file or directory": (Speaker.SHELL, ""),
    "run.sh: 3: module: not found": (Speaker.SHELL, ""),
    # The program, with the host in front of it or without one.
    "n3: RuntimeError: CUDA error: x": (Speaker.PROGRAM, "n3"),
    "worker-1: Traceback (most recent call last):": (Speaker.PROGRAM, "worker-1"),
    "n3: slurmstepd: error: x": (Speaker.SLURM, "n3"),
    "n3: rm: cannot remove 'x'": (Speaker.SHELL, "n3"),
    "[n3:1234] *** Process received signal ***": (Speaker.PROGRAM, "n3"),
    "[rank9]: RuntimeError: CUDA error: x": (Speaker.PROGRAM, ""),
    "RuntimeError: Node failure on n3": (Speaker.PROGRAM, ""),
    "OSError: [Errno 5] Input/output error: 'slurmstepd: error: x'": (Speaker.PROGRAM, ""),
    "python3: can't open file '/home/u/train.py': [Errno 2]": (Speaker.PROGRAM, ""),
    "gcc-12: error: unrecognized option": (Speaker.PROGRAM, ""),
    "train.py: error: unrecognized arguments: --x": (Speaker.PROGRAM, ""),
    "step 3: loss 2.1": (Speaker.PROGRAM, ""),
    "": (Speaker.PROGRAM, ""),
}


@pytest.mark.parametrize("line", LINES)
def test_the_front_of_a_line_names_its_speaker(line: str) -> None:
    label, message = split_label(line)
    assert identify_speaker(line, label, message) == LINES[line]


@pytest.mark.parametrize("line", [line for line in LINES if line])
def test_a_line_cut_anywhere_has_a_speaker(line: str) -> None:
    for end in range(len(line)):
        label, message = split_label(line[:end])
        assert identify_speaker(line[:end], label, message)[0] in Speaker
