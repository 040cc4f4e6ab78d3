"""Lines with a host in front (pdsh, DeepSpeed): they are judged like those without."""

import pytest

from slurm_restart.logs.host_prefixes import MAX_HOSTS, HostPrefixes, host_in, without_host

from .judge_text import judge_text

NODES = ("n1", "n2", "n3", "n4")
TRACE = 'Traceback (most recent call last):\n  File "t.py", line 3, in <module>\n    run()\n'


def judge(text: str, exit_code: int = 1):
    return judge_text(text, f"{exit_code}:0", nodes=NODES)


TEXTS = [
    f"{TRACE}NameError: name 'x' is not defined\n",
    f"{TRACE}ValueError: batch_size must be positive\n",
    f"{TRACE}KeyError: 'optimizer'\n",
    f"{TRACE}ModuleNotFoundError: No module named 'lib9'\n",
    f"{TRACE}FileNotFoundError: [Errno 2] No such file or directory: '/d/a.bin'\n",
    f"{TRACE}OSError: [Errno 122] Disk quota exceeded\n",
    f"{TRACE}PermissionError: [Errno 13] Permission denied: '/d/a'\n",
    f"{TRACE}RuntimeError: CUDA error: uncorrectable ECC error encountered\n",
    f"{TRACE}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n",
    f"{TRACE}OSError: [Errno 5] Input/output error\n",
    f"{TRACE}TimeoutError: The read operation timed out\n",
    "FATAL:   could not open image /d/a.sif: no such file or directory\n",
    "ERROR: Unknown pair style abc (src/force.cpp:275)\n",
    "Error in fit() : all weights must be positive\n",
    "rm: cannot remove 'old': No such file or directory\n",
    "Fatal error:\nthe grid is odd\n",
    "STOP the grid is odd\n",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("host", ["n3", "gpu-b7", "node4.cluster.example"])
def test_a_host_in_front_of_each_line_changes_no_verdict(text, host):
    plain = judge(text)
    behind = judge("".join(f"{host}: {line}\n" for line in text.splitlines()))
    assert (behind.category, behind.rule) == (plain.category, plain.rule)
    assert behind.root_cause.text.endswith(plain.root_cause.text)


def test_lines_of_several_hosts_are_told_apart():
    text = "".join(
        f"n{host}: {line}\n"
        for line in f"{TRACE}RuntimeError: the peer has gone".splitlines()
        for host in (1, 2)
    )
    faulty = "".join(
        f"n3: {line}\n"
        for line in f"{TRACE}RuntimeError: CUDA error: uncorrectable ECC error encountered".split(
            "\n"
        )
    )
    judged = judge(text + faulty)
    assert judged.category.value == "hardware.accelerator"
    assert [blame.node for blame in judged.blamed] == ["n3"]


@pytest.mark.parametrize(
    "line",
    [
        "mlx5: n3: got completion with error: ",
        "python3: can't open file 't.py': [Errno 2] No such file or directory",
        "slurmstepd-n3: error: *** JOB 7 ON n3 CANCELLED AT 2026-01-05T10:00:00 ***",
        "step 3: loss 2.0",
    ],
)
def test_other_names_in_front_are_no_hosts(line):
    assert HostPrefixes().host_of(line) == ""


def test_only_names_before_a_traceback_become_labels_and_few_of_them():
    known = HostPrefixes()
    assert known.host_of("n3: hello") == ""
    assert known.host_of(f"n3: {TRACE}") == "n3: "
    assert known.host_of("n3: hello") == "n3: "
    assert known.copy().host_of("n3:   File x") == "n3: "
    for number in range(MAX_HOSTS + 5):
        known.host_of(f"m{number}: {TRACE}")
    assert len(known.known) == MAX_HOSTS
    assert host_in("n3: ") == "n3"
    assert host_in("[rank3]:") == ""
    assert without_host("n3:   words") == "words"
    assert without_host("words") == ""


OWN = "error: execve(): /var/spool/slurmd/job00012/slurm_script: No such file or directory"


@pytest.mark.parametrize(
    ("text", "nodes", "blamed"),
    [
        (f"slurmstepd-n3: {OWN}\n", NODES, ["n3"]),
        (f"slurmd[n3]: {OWN}\n", NODES, ["n3"]),
        (f"slurmstepd-n3: {OWN}\nslurmstepd-n3: {OWN}\n", NODES, ["n3"]),
        (f"slurmstepd-n3: {OWN}\nslurmstepd-n4: {OWN}\n", NODES, []),
        (f"slurmstepd: {OWN}\n", NODES, []),
        (f"slurmstepd-n9: {OWN}\n", NODES, []),
        (
            "slurmstepd-n2: error: gres/gpu: _set_env: cannot open /dev/nvidia1: No such device\n",
            NODES,
            ["n2"],
        ),
        (f"slurmstepd-n3: {OWN}\n", (), ["n3"]),
    ],
)
def test_a_node_that_lost_a_file_of_slurmd_is_blamed(text, nodes, blamed):
    judged = judge_text(text, "2:0", nodes=nodes)
    assert judged.category.value == "hardware.node"
    assert [blame.node for blame in judged.blamed] == blamed


LAUNCH = "srun: error: Task launch for StepId=7.0 failed on node "


def test_a_node_is_not_blamed_for_a_launch_that_others_refused_too():
    silent = f"{LAUNCH}n1: Socket timed out on send/recv operation\n"
    assert [blame.node for blame in judge(silent).blamed] == ["n1"]
    refused = f"{LAUNCH}n2: No such process\n{LAUNCH}n3: No such process\n"
    assert judge(refused + silent).blamed == ()
    again = f"{LAUNCH}n1: No such process\n"
    assert [blame.node for blame in judge(again + silent).blamed] == ["n1"]
