"""Kinds of ends that programs, launchers and clouds tell in words of their own: own texts."""

import pytest

from .judge_text import judge_text

TRACEBACK = 'Traceback (most recent call last):\n  File "t.py", line 3, in <module>\n'
STEPS = "".join(f"step {number} | loss 2.1\n" for number in range(50))
CPP = "terminate called after throwing an instance of "
TABLE = (
    "Root Cause (first observed failure):\n[0]:\n"
    "  host      : n3\n  rank      : 2 (local_rank: 2)\n"
)
INVALID = (
    "7: Abort(77) on node 7 (rank 7 in comm 0): Fatal error in internal_Gather: Invalid root, "
    "error stack:"
)
GONE = (
    f"{TRACEBACK}ConnectionResetError: [Errno 104] Connection reset by peer\n\n"
    "The above exception was the direct cause of the following exception:\n\n"
    f"{TRACEBACK}RuntimeError: DataLoader worker (pid(s) 9) exited unexpectedly"
)
NO_DIRECTORY = "slurmstepd: error: pyxis: couldn't mkdir /run/pyxis/4711: No such file or directory"


def judge(text: str, exit_code: str = "1:0"):
    return judge_text(f"{text}\n", exit_code)


@pytest.mark.parametrize(
    ("category", "exit_code", "text", "root"),
    [
        # The message of a C++ exception.
        (
            "software.crash",
            "134:0",
            f"{CPP}'std::runtime_error'\n  what():  the grid of level 2 is empty",
            "what():  the grid of level 2 is empty",
        ),
        (
            "software.crash",
            "134:0",
            f"{STEPS}{CPP}'sycl::_V1::exception'\n  what():  kernel launch: -17 (odd)\nAborted",
            "what():  kernel launch: -17 (odd)",
        ),
        (
            "software.crash",
            "134:0",
            f"[rank3]:[E1 x.cpp:9] a\n[rank3]: {CPP}'c10::Error'\n[rank3]:   what():  lost events",
            "[rank3]:   what():  lost events",
        ),
        (
            "storage.full",
            "134:0",
            f"{CPP}'H5::Error'\n  what():  write: No space left on device",
            "what():  write: No space left on device",
        ),
        (
            "storage.io",
            "134:0",
            f"{CPP}'io::Error'\n  what():  read: Input/output error",
            "what():  read: Input/output error",
        ),
        (
            "memory.device_oom",
            "134:0",
            f"{CPP}'thrust::system_error'\n  what():  CUDA error: out of memory",
            "what():  CUDA error: out of memory",
        ),
        (
            "oom_host",
            "134:0",
            f"{CPP}'std::bad_alloc'\n  what():  std::bad_alloc",
            f"{CPP}'std::bad_alloc'",
        ),
        (
            "software.crash",
            "134:0",
            "LLVM ERROR: the pass lost its way\nAborted (core dumped)",
            "LLVM ERROR: the pass lost its way",
        ),
        (
            "software.crash",
            "134:0",
            "Kokkos ERROR: a view is out of its bounds\nAborted (core dumped)",
            "Kokkos ERROR: a view is out of its bounds",
        ),
        (
            "software.crash",
            "134:0",
            "amrex::Abort::7::a box is not in the domain !!!\nSIGABRT",
            "amrex::Abort::7::a box is not in the domain !!!",
        ),
        (
            "software.crash",
            "134:0",
            "signal (6.2): Aborted\nin expression starting at run.jl:9",
            "signal (6.2): Aborted",
        ),
        # The line of torchrun's table that names the signal.
        (
            "software.crash",
            "1:0",
            f"{TABLE}  exitcode  : -11\n  traceback : Signal 11 (SIGSEGV) received by PID 4",
            "traceback : Signal 11 (SIGSEGV) received by PID 4",
        ),
        (
            "software.crash",
            "1:0",
            f"{TABLE}  exitcode  : -7 (pid: 9)\n  traceback : Signal 7 (SIGBUS) received by PID 9",
            "traceback : Signal 7 (SIGBUS) received by PID 9",
        ),
        (
            "unknown",
            "1:0",
            f"{TABLE}  exitcode  : -9 (pid: 9)\n  traceback : Signal 9 (SIGKILL) received by PID 9",
            "traceback : Signal 9 (SIGKILL) received by PID 9",
        ),
        # An end that is announced.
        (
            "preemption",
            "1:0",
            f"{STEPS}agent INFO - Caught signal SIGUSR2 on n3: this job is preempted.",
            "agent INFO - Caught signal SIGUSR2 on n3: this job is preempted.",
        ),
        (
            "preemption",
            "1:0",
            f"{STEPS}the metadata service says that termination is imminent",
            "the metadata service says that termination is imminent",
        ),
        (
            "preemption",
            "1:0",
            f"{STEPS}WARN maintenance event scheduled for this host",
            "WARN maintenance event scheduled for this host",
        ),
        # Data that is streamed.
        (
            "dependency.service",
            "1:0",
            "download failed: s3://corpus/a/7.tar to - Connection was closed",
            "download failed: s3://corpus/a/7.tar to - Connection was closed",
        ),
        (
            "dependency.service",
            "1:0",
            f"{TRACEBACK}OSError: (('gsutil cat gs://c',), {{'shell': True}}): exit 1 (read) {{}}",
            "OSError: (('gsutil cat gs://c',), {'shell': True}): exit 1 (read) {}",
        ),
        # Others.
        (
            "data.corrupt",
            "134:0",
            "/src/hip/Gather.hip:77: gather: Device-side assertion `i < rows' failed.\nAborted",
            "/src/hip/Gather.hip:77: gather: Device-side assertion `i < rows' failed.",
        ),
        (
            "unknown",
            "1:0",
            GONE,
            "RuntimeError: DataLoader worker (pid(s) 9) exited unexpectedly",
        ),
        (
            "hardware.node",
            "1:0",
            "Warning Rebooted 9s kubelet Node n3 has been rebooted, boot id: 7f",
            "Warning Rebooted 9s kubelet Node n3 has been rebooted, boot id: 7f",
        ),
        # What a node reports of itself, and what a library refuses.
        (
            "hardware.node",
            "1:0",
            f"{NO_DIRECTORY}\nslurmstepd: error: pyxis: couldn't start container",
            NO_DIRECTORY,
        ),
        (
            "code",
            "1:0",
            f"{INVALID}\n7: internal_Gather(99): Invalid root (value given was 99)",
            INVALID,
        ),
        (
            "compile",
            "1:0",
            "Failed to compile the kernels of the device 0\n  log of the build follows",
            "Failed to compile the kernels of the device 0",
        ),
        (
            "config",
            "24:0",
            "forrtl: severe (24): end-of-file during read, unit 5, file stdin",
            "forrtl: severe (24): end-of-file during read, unit 5, file stdin",
        ),
        (
            "data.corrupt",
            "24:0",
            f"{STEPS}forrtl: severe (24): end-of-file during read, unit 31, file /d/wind.bin",
            "forrtl: severe (24): end-of-file during read, unit 31, file /d/wind.bin",
        ),
        (
            "data.corrupt",
            "134:0",
            "fatal Fortran runtime error(/src/io.f90:96): End of file during input",
            "fatal Fortran runtime error(/src/io.f90:96): End of file during input",
        ),
        (
            "network.rendezvous",
            "1:0",
            f"{TRACEBACK}RuntimeError: connect() timed out. Original timeout was 9000 ms.",
            "RuntimeError: connect() timed out. Original timeout was 9000 ms.",
        ),
        (
            "network.fabric",
            "134:0",
            " 9: libfabric:7:8:cxi:core:cxip_x():9<warn> n9: Software endpoint mode required.",
            "9: libfabric:7:8:cxi:core:cxip_x():9<warn> n9: Software endpoint mode required.",
        ),
    ],
)
def test_the_cause_is_found_in_other_words(category, exit_code, text, root):
    judged = judge(text, exit_code)
    assert judged.category.value == category
    assert judged.root_cause.text == root


CALLED = "FATAL CALLED FROM FILE:  <stdin>  LINE:     9\n"


@pytest.mark.parametrize(
    ("category", "text", "root"),
    [
        ("config", "FATAL ERROR: Unable to open the force field.", None),
        ("config", "run 7 ERROR: could not find the parameter table abc.tab", None),
        ("config", "the model had an Error while reading the grid", None),
        ("config", f"{CALLED}error reading namelist waves", "error reading namelist waves"),
        ("config", f"{CALLED}  model: error opening wind_d07 ierr= -9", None),
        ("config", "NOTE: 2 namelist settings are wrong. Please check", None),
        ("config", "Must have more layers than ranks!", None),
        ("config", f"{CALLED}Reduce the rank count of the run", "Reduce the rank count of the run"),
        ("config", "the domain of nest 7 is too small for this many ranks", None),
        ("config", "Error in routine setup (3):\n  more processors than planes", None),
        ("unknown", "ERROR reading restart file rst.0009", None),
        ("unknown", f"{CALLED}error opening restart_d01 for reading", None),
        ("storage.full", "Error opening out.9: No space left on device", None),
        ("storage.io", "Error reading in.9: Input/output error", None),
        ("unknown", f"{STEPS * 9}ERROR reading namelist waves", None),
        (
            "hardware.accelerator",
            "RuntimeError: cuInit. Error 802: system not yet initialized",
            None,
        ),
        ("network.rendezvous", "[mpiexec@n1] x (a.c:9): unable to run bstrap_proxy on n3", None),
    ],
)
def test_what_simulations_say_of_their_input(category, text, root):
    judged = judge(text)
    assert judged.category.value == category
    if root is not None:
        assert judged.root_cause.text == root


def test_a_charm_program_is_judged_by_the_line_below():
    judged = judge(
        "--- Processor 7 Exiting: Called CmiAbort ---\nReason: a message was odd", "134:0"
    )
    assert judged.category.value == "software.crash"
    assert judged.root_cause.text == "Reason: a message was odd"
