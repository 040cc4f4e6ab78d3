"""Whose line it is decides what it may cause: stops need a speaker who can know."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category

from .judge_text import judge_text

NOT_FOUND = "No such file or directory"
LONG = tuple(f"step {number} | loss 2.{number}" for number in range(1, 2001))


def judge(*lines: str, exit_code: int = 1, signal: int = 0) -> Attribution:
    return judge_text("".join(f"{line}\n" for line in lines), f"{exit_code}:{signal}")


def test_what_the_supervisor_says_is_not_the_programs() -> None:
    missing = f"slurmstepd: error: execve(): trainer-2.1: {NOT_FOUND}"
    judged = judge(
        "csx-restart: [main] job 4, phase 1 of 1, attempt 0",
        "csx-restart: [run_0] fit from scratch, step 0, num_csx 1 on n4",
        f"0: {missing}",
        "srun: error: n4: task 0: Exited with exit code 2",
        f"csx-restart: [run_0] ended as config: exit code 2: {missing}",
        exit_code=2,
    )
    assert judged.category is Category.CONFIG
    assert judged.root_cause is not None
    assert judged.root_cause.line == 3


def nodes(judged: Attribution) -> list[str]:
    return [blame.node for blame in judged.blamed]


# --- what the infrastructure reports ------------------------------------------------------------

OF_A_NODE = (
    f"slurmstepd: error: gres/gpu: _set_env: cannot open /dev/nvidia3: {NOT_FOUND}",
    f"slurmstepd: error: execve(): /var/spool/slurmd/job00012/slurm_script: {NOT_FOUND}",
    f"slurmstepd: error: execve(): /opt/slurm/spool/job7/slurm_script: {NOT_FOUND}",
    "slurmstepd: error: execve(): /var/spool/slurmd/job00012/slurm_script: Input/output error",
    f"slurmstepd-n7: error: open(/dev/infiniband/uverbs2): {NOT_FOUND}",
    "slurmstepd: error: mkdir /var/spool/slurmd/job00031: Read-only file system",
    "slurmstepd: error: write /var/spool/slurmd/job00031/state: No space left on device",
    f"slurmstepd: error: cannot open plugin directory /usr/lib/slurm-wlm: {NOT_FOUND}",
    "slurmd: error: Unable to load the job's environment file: Permission denied",
    f"slurmstepd-n7: error: common_cgroup: unable to open '/sys/fs/cgroup/x': {NOT_FOUND}",
    "slurmstepd: error: NVML: cannot find device 3: No such device",
    "slurmstepd-n7: error: task/cray: ioctl: Invalid argument",
    "slurmstepd: error: getpwuid: user id 1002 not found",
)


@pytest.mark.parametrize("line", OF_A_NODE)
def test_what_a_daemon_of_slurm_lacks_is_the_trouble_of_its_node(line: str) -> None:
    judged = judge(line, "srun: error: n7: task 3: Exited with exit code 1")
    assert judged.recoverable
    assert judged.category in (
        Category.HARDWARE_NODE,
        Category.UNKNOWN,
        Category.HARDWARE_ACCELERATOR,
    )


NOT_STARTED = (
    "error: execve(): /lustre/u/env/bin/python: No such file or directory",
    "error: execve(): /lustre/u/env/bin/python: Permission denied",
    "error: execve(): bad interpreter(/lustre/u/bin/python): No such file or directory",
    "error: Could not open stdout file /lustre/u/run/out.3: No such file or directory",
    "error: Could not open stderr file /lustre/u/run/err.3: Permission denied",
)


def step(lines: dict[str, str], *, failed: dict[str, str], first: int = 0) -> list[str]:
    """The lines of slurmstepd by node, then srun's about the tasks of each node, eight a node."""
    exits = [
        f"srun: error: {node}: tasks {8 * number}-{8 * number + 7}: {how}"
        for number, (node, how) in enumerate(failed.items(), first)
    ]
    return [*(f"slurmstepd-{node}: {text}" for node, text in lines.items()), *exits]


EXITED, ENDED = "Exited with exit code 2", "Terminated"


@pytest.mark.parametrize("text", NOT_STARTED)
@pytest.mark.parametrize("count", [2, 4, 12, 40])
def test_what_all_nodes_lack_is_the_users(text: str, count: int) -> None:
    names = [f"n{number}" for number in range(1, count + 1)]
    judged = judge(*step(dict.fromkeys(names, text), failed=dict.fromkeys(names, EXITED)))
    assert (judged.category, judged.recoverable) == (Category.CONFIG, False)
    assert nodes(judged) == []


@pytest.mark.parametrize("text", NOT_STARTED)
@pytest.mark.parametrize("bad", ["n1", "n2", "n4"])
def test_what_one_node_lacks_is_its_trouble(text: str, bad: str) -> None:
    failed = {name: EXITED if name == bad else ENDED for name in ("n1", "n2", "n3", "n4")}
    judged = judge(*step({bad: text}, failed=failed))
    assert (judged.category, judged.recoverable) == (Category.HARDWARE_NODE, True)
    assert nodes(judged) == [bad]


@pytest.mark.parametrize("text", NOT_STARTED)
def test_the_only_node_in_the_log_is_at_fault_if_others_have_tasks(text: str) -> None:
    later = judge(*step({"n4": text}, failed={"n4": EXITED}, first=3))
    went = judge("0: step 10 | loss 2.1", *step({"n4": text}, failed={"n4": EXITED}))
    alone = judge(*step({"n4": text}, failed={"n4": EXITED}))
    assert nodes(later) == nodes(went) == ["n4"]
    assert (alone.category, nodes(alone)) == (Category.CONFIG, [])


OF_A_LIBRARY = (
    "n3:1100:1190 [2] transport/p2p.cc:150 NCCL WARN Cuda failure 'invalid argument'",
    "n3:1100:1190 [2] init.cc:1010 NCCL WARN Cuda failure 1 'invalid argument'",
    "n3:1100:1190 [2] misc/ibvwrap.cc:200 NCCL WARN Call to ibv_reg_mr failed: Invalid argument",
    "n3:1100:1190 [2] NCCL WARN Call to ibv_create_qp failed with error Operation not permitted",
    "n3:1100:1190 [2] NCCL WARN Could not open /dev/shm/nccl-Qx: Permission denied",
    "7: n3:1100:1190 [2] NCCL WARN Error: failed to open /dev/nvidia-caps: No such file",
    "[1699999999.123456] [n3:1234 :0] ib_md.c:300 UCX ERROR ibv_reg_mr: Invalid argument",
    "[1699999999.123456] [n3:1234 :0] mm_xpmem.c:90 UCX ERROR open /dev/xpmem: Permission denied",
    "libfabric:77:1699:efa:ep_ctrl:efa_ep_open():91<warn> ibv_create_qp: Invalid argument",
    "libfabric:77:1699:cxi:core:cxip_domain():3<warn> open: No such file or directory",
    "E0105 10:00:00.123456 42 external/xla/pjrt.cc:9] invalid option: not found",
)


@pytest.mark.parametrize("line", OF_A_LIBRARY)
def test_an_error_number_of_a_library_stops_no_run(line: str) -> None:
    judged = judge("n3:1100:1190 [2] NCCL INFO Using network IB", line)
    assert judged.recoverable
    assert judged.category in (
        Category.NETWORK_FABRIC,
        Category.HARDWARE_ACCELERATOR,
        Category.UNKNOWN,
    )


STOPS = (
    "ModuleNotFoundError: No module named 'flux'",
    "FileNotFoundError: [Errno 2] No such file or directory: '/data/train'",
    "ValueError: 'adamm' is not a valid Optimizer",
    "/data/list.txt: No such file or directory",
    "PermissionError: [Errno 13] Permission denied: '/data/x'",
    "error: invalid option --frob",
    "401 Client Error: Unauthorized",
    "Missing key required: model.size",
    "cannot open shared object file: No such file or directory",
    "unrecognized arguments: --lr",
    "the configuration file was not found",
    "shapes cannot be multiplied (4x3 and 5x2)",
    "No space left on device",
)
CANNOT_KNOW = (
    "slurmstepd: error: ",
    "slurmstepd-n3: error: ",
    "n2: slurmstepd: error: ",
    "slurmd[n3]: error: ",
    "kernel: ",
    "n3 kernel: ",
    "[ 1234.567890] ",
)
LIBRARY = ("n3:1100:1190 [2] NCCL WARN ", "libfabric:77:1699:efa:ep_ctrl:f():9<warn> ")


@given(st.sampled_from(STOPS), st.sampled_from(CANNOT_KNOW), st.sampled_from(["", "step 3\n"]))
def test_a_speaker_that_cannot_know_never_stops_a_run(text: str, who: str, before: str) -> None:
    assert judge(f"{before}{who}{text}", "srun: error: n3: task 3: Terminated").recoverable


@given(st.sampled_from(STOPS[:-1]), st.sampled_from(LIBRARY))
def test_a_library_never_stops_a_run_for_a_mistake_of_the_user(text: str, who: str) -> None:
    assert judge(f"{who}{text}").recoverable


@pytest.mark.parametrize("text", STOPS)
def test_the_program_is_believed_at_its_start(text: str) -> None:
    assert not judge(text).recoverable


# --- headers ------------------------------------------------------------------------------------

IMPORT = """pyxis: importing docker image: team/train:12
slurmstepd: error: pyxis: child 771 failed with error code: 1
slurmstepd: error: pyxis: failed to import docker image
slurmstepd: error: pyxis: printing enroot log file:
slurmstepd: error: pyxis:     [INFO] Querying registry for permission grant
slurmstepd: error: pyxis:     {why}
slurmstepd: error: pyxis: couldn't start container
srun: error: n4: task 0: Exited with exit code 1"""
URL = "[ERROR] URL https://registry.example.org/v2/team/train/manifests/12 returned error code:"
REASONS = {
    f"{URL} 429 Too Many Requests": Category.DEPENDENCY_SERVICE,
    f"{URL} 503 Service Unavailable": Category.DEPENDENCY_SERVICE,
    f"{URL} 500 Internal Server Error": Category.DEPENDENCY_SERVICE,
    f"{URL} 504 Gateway Timeout": Category.DEPENDENCY_SERVICE,
    "curl: (28) Failed to connect to registry.example.org port 443: Connection timed out": (
        Category.DEPENDENCY_SERVICE
    ),
    "curl: (6) Could not resolve host: registry.example.org": Category.DEPENDENCY_SERVICE,
    "curl: (56) Recv failure: Connection reset by peer": Category.DEPENDENCY_SERVICE,
    "curl: (35) TLS connect error: unexpected eof while reading": Category.DEPENDENCY_SERVICE,
    "curl: (7) Failed to connect to registry.example.org port 443: Connection refused": (
        Category.DEPENDENCY_SERVICE
    ),
    "mksquashfs: Input/output error": Category.STORAGE_IO,
    "mkdir: cannot create directory '/enroot/data': Stale file handle": Category.STORAGE_IO,
    "Write failed because No space left on device": Category.STORAGE_FULL,
    "mksquashfs: Disk quota exceeded": Category.STORAGE_FULL,
    f"{URL} 401 Unauthorized": Category.AUTH,
    f"{URL} 403 Forbidden": Category.AUTH,
    f"{URL} 404 Not Found": Category.CONFIG,
}


@pytest.mark.parametrize("why", REASONS)
def test_the_reason_behind_a_header_is_the_cause(why: str) -> None:
    judged = judge(*IMPORT.format(why=why).splitlines())
    assert judged.category is REASONS[why]
    assert judged.root_cause is not None
    assert why in judged.root_cause.text


def test_a_header_without_a_reason_stops_no_run() -> None:
    judged = judge(*IMPORT.format(why="[ERROR] something that no rule knows").splitlines())
    assert (judged.category, judged.recoverable) == (Category.UNKNOWN, True)


HEADERS = (
    "slurmstepd: error: pyxis: failed to import docker image",
    "slurmstepd: error: pyxis: couldn't start container",
    "slurmstepd-n4: error: pyxis: child 771 failed with error code: 1",
    "slurmstepd: error: pyxis: printing enroot log file:",
    "slurmstepd: error: pyxis: container start failed with error code: 1",
    "docker: Error response from daemon: the container did not run",
    "FATAL:   Unable to pull image",
    "The following error occurred:",
    "The following errors were found, and the run was stopped:",
    "An error occurred during the run:",
    "An unexpected error has occurred.",
    "Job aborted due to the following error:",
    "The program failed, see the messages above",
)
ROOTS = {
    "MemoryError": Category.OOM_HOST,
    "[rank0]: ModuleNotFoundError: No module named 'flux'": Category.CODE,
    "OSError: [Errno 28] No space left on device": Category.STORAGE_FULL,
    "OSError: [Errno 5] Input/output error": Category.STORAGE_IO,
    "curl: (6) Could not resolve host: registry.example.org": Category.DEPENDENCY_SERVICE,
    "KeyError: 'input_ids'": Category.CODE,
    "RuntimeError: something new": Category.UNKNOWN,
    "srun: error: n3: task 3: Exited with exit code 1": Category.UNKNOWN,
}


@given(
    st.sampled_from(sorted(ROOTS)),
    st.lists(st.sampled_from(HEADERS), max_size=4),
    st.lists(st.sampled_from(HEADERS), max_size=4),
)
@settings(max_examples=200)
def test_a_header_changes_no_verdict(root: str, before: list[str], after: list[str]) -> None:
    judged, bare = judge(*before, root, *after), judge(root)
    assert bare.category is ROOTS[root]
    assert (judged.category, judged.confidence) == (bare.category, bare.confidence)


@pytest.mark.parametrize("hardware", [48, 63, 74, 79, 94, 145])
@pytest.mark.parametrize("consequence", [43, 45])
def test_an_xid_names_the_one_that_caused_it(hardware: int, consequence: int) -> None:
    xid = f"kernel: NVRM: Xid (PCI:0000:dc:00): {consequence}, pid=18, name=python3, Ch 00000001"
    judged = judge(f"{xid} caused by previous Xid {hardware}", exit_code=0, signal=6)
    assert judged.category is Category.HARDWARE_ACCELERATOR
    assert judge(f"{xid} caused by previous Xid 13", exit_code=0, signal=6).category is (
        Category.SOFTWARE_CRASH
    )


# --- exceptions after long progress ---------------------------------------------------------------

MISTAKES = (
    "FileNotFoundError: [Errno 2] No such file or directory: '/dev/shm/psm_3f2a'",
    "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/torch_77/lock'",
    "PermissionError: [Errno 13] Permission denied: '/scratch/u/ckpt/step_2000'",
    "ModuleNotFoundError: No module named 'scipy.special'",
    "ImportError: /lib/libm.so.6: cannot read file data: Error 21",
    "ValueError: 'jsonl' is not a valid LoggingTypes",
    "AssertionError: the queue must be empty",
    "TypeError: 'NoneType' object is not subscriptable",
    "AttributeError: 'NoneType' object has no attribute 'shape'",
    "RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x64 and 48x64)",
    "NotADirectoryError: [Errno 20] Not a directory: '/lustre/u/run'",
    "NameError: name 'loss' is not defined",
)


def traceback(error: str) -> tuple[str, ...]:
    return ("Traceback (most recent call last):", '  File "t.py", line 3, in <module>', error)


@pytest.mark.parametrize("error", MISTAKES)
def test_an_exception_stops_a_run_at_the_start_alone(error: str) -> None:
    start, late = judge("reading the data", *traceback(error)), judge(*LONG, *traceback(error))
    assert (start.recoverable, start.put_off) == (False, False)
    assert (late.category, late.recoverable, late.put_off) == (Category.UNKNOWN, True, True)
    assert late.root_cause is not None
    assert start.root_cause is not None
    assert late.root_cause.text == start.root_cause.text


CERTAIN = {
    "OSError: [Errno 28] No space left on device": Category.STORAGE_FULL,
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.": Category.DEVICE_OOM,
    "huggingface_hub.errors.GatedRepoError: 401 Client Error.": Category.AUTH,
}


@pytest.mark.parametrize("error", CERTAIN)
def test_what_a_person_must_mend_stops_a_run_at_any_time(error: str) -> None:
    late = judge(*LONG, *traceback(error))
    assert (late.category, late.recoverable) == (CERTAIN[error], False)


INVALID = (
    "ValueError: Expected loc to satisfy the constraint Real(), but found invalid values:",
    "ValueError: Expected v to satisfy the constraint Simplex(), but found invalid values:",
    "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0",
    "ValueError: Input contains NaN.",
    "FloatingPointError: invalid value (nan) encountered in jit(train_step)",
)


@pytest.mark.parametrize("error", INVALID)
def test_values_that_are_nan_are_no_matter_of_the_configuration(error: str) -> None:
    judged = judge(*LONG, *traceback(error), "tensor([[nan, nan, nan]], device='cuda:0')")
    assert (judged.category, judged.recoverable) == (Category.NUMERIC_NAN, True)


def test_a_later_attempt_in_the_same_log_has_its_own_start() -> None:
    again = "csx-restart: [main] job 17, phase 1 of 2, attempt 3"
    for some in ((), ("step 2001 | loss 2.1",)):
        judged = judge(*LONG, again, *some, *traceback(MISTAKES[0]))
        assert (judged.category, judged.put_off) == (Category.CONFIG, False)


# --- noise of the shell ---------------------------------------------------------------------------

NOISE = (
    f"rm: cannot remove 'restart.old': {NOT_FOUND}",
    f"cp: cannot stat '/scratch/u/warm.h5': {NOT_FOUND}",
    f"mv: cannot stat 'out.1': {NOT_FOUND}",
    f"ls: cannot access 'ckpt/*.pt': {NOT_FOUND}",
    f"cat: /etc/site-release: {NOT_FOUND}",
    f"/bin/rm: cannot remove 'core.*': {NOT_FOUND}",
    f"run.sh: line 4: /opt/site/profile.sh: {NOT_FOUND}",
    "/var/spool/slurmd/job00017/slurm_script: line 7: module: command not found",
    "bash: line 2: nvidia-smi: command not found",
    f"grep: params.yaml: {NOT_FOUND}",
    f"tail: cannot open 'log.0' for reading: {NOT_FOUND}",
    "chmod: changing permissions of 'out': Operation not permitted",
    f"n3: rm: cannot remove 'restart.old': {NOT_FOUND}",
)


@pytest.mark.parametrize("noise", NOISE)
def test_a_script_goes_on_after_a_command_has_failed(noise: str) -> None:
    judged = judge(noise, "starting solver", "srun: error: n3: task 7: Exited with exit code 1")
    assert (judged.category, judged.recoverable) == (Category.UNKNOWN, True)


@pytest.mark.parametrize("noise", NOISE)
def test_noise_of_the_shell_does_not_replace_an_error_of_the_program(noise: str) -> None:
    error = "KeyError: 'hidden_size'"
    judged = judge(noise, "starting the program", *traceback(error))
    assert judged.root_cause is not None
    assert judged.root_cause.text == error


def test_a_command_that_ends_the_script_is_the_cause() -> None:
    missing = f"/home/u/slurm_script: line 2: /opt/conda/etc/profile.d/conda.sh: {NOT_FOUND}"
    assert judge(missing, exit_code=1).category is Category.CONFIG
    assert (
        judge("bash: line 3: mpirun-4: command not found", exit_code=127).category
        is Category.CONFIG
    )
