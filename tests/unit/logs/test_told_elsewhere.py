"""Causes that other lines than the loudest one tell: frames, libraries, numbers: own texts."""

import pytest

from slurm_restart.core.category import Category

from .judge_text import judge_text

STEPS = "".join(f"step {number} | loss 2.1\n" for number in range(50))
TITLE = "Traceback (most recent call last):\n"
OF_DATA = (
    '  File "/w/data/reader.py", line 8, in load_shard\n',
    '  File "/w/feed.py", line 8, in __getitem__\n',
    (
        '  File "/v/lib/site-packages/torch/utils/data/_utils/fetch.py", line 52, in fetch\n'
        "    return self.collate_fn(data)\n"
        '  File "/w/mix.py", line 8, in collate_rows\n'
    ),
    '  File "/w/pipe/dataset.py", line 8, in open\n    self.file = opener(path)\n',
)
OF_CHECKPOINTS = (
    '  File "/w/t.py", line 8, in load_checkpoint\n',
    '  File "/w/t.py", line 8, in restore_state\n',
    '  File "/w/ckpt_io.py", line 8, in read_part\n',
    '  File "/v/lib/python3.12/site-packages/zoo/models.py", line 8, in from_pretrained\n',
)
UNREADABLE = (
    "_pickle.UnpicklingError: pickle data was truncated",
    "EOFError: Ran out of input",
    "zipfile.BadZipFile: File is not a zip file",
    "OSError: Unable to open file (truncated file: eof = 96, sblock->base_addr = 0)",
)


@pytest.mark.parametrize("error", UNREADABLE)
@pytest.mark.parametrize(
    ("category", "frames"),
    [
        *((Category.DATA_CORRUPT, frames) for frames in OF_DATA),
        *((Category.CHECKPOINT_CORRUPT, frames) for frames in OF_CHECKPOINTS),
    ],
)
def test_the_frames_tell_which_file_cannot_be_read(
    category: Category, frames: str, error: str
) -> None:
    main = '  File "/w/t.py", line 3, in <module>\n    main()\n'
    judged = judge_text(f"{STEPS}{TITLE}{main}{frames}    raise\n{error}\n")
    assert judged.category is category
    assert judged.root_cause is not None
    assert judged.root_cause.text == error


def test_the_innermost_frame_that_tells_counts() -> None:
    judged = judge_text(f"{TITLE}{OF_CHECKPOINTS[0]}{OF_DATA[0]}EOFError: Ran out of input\n")
    assert judged.category is Category.DATA_CORRUPT


def test_the_frames_of_an_earlier_traceback_tell_nothing() -> None:
    handled = f"{TITLE}{OF_DATA[0]}OSError: handled\n"
    judged = judge_text(f"{handled}{TITLE}EOFError: Ran out of input\n")
    assert judged.category is Category.CHECKPOINT_CORRUPT


@pytest.mark.parametrize("error", ["IndexError: list index out of range", "NameError: name 'x'"])
def test_frames_do_not_change_what_is_no_matter_of_files(error: str) -> None:
    assert judge_text(f"{TITLE}{OF_DATA[0]}{error}\n").category is Category.CODE


@pytest.mark.parametrize(
    "line",
    [
        "n3:77:90 [2] misc/shm.cc:12 NCCL WARN Call to open failed: No such file or directory",
        "n3:77:90 [2] transport/net.cc:9 NCCL WARN Error while mapping a segment: not found",
    ],
)
def test_the_librarys_line_is_the_root_where_the_program_passes_the_failure_on(line: str) -> None:
    text = f"{line}\nRuntimeError: NCCL error in: x.cpp:9, unhandled system error, NCCL version 2\n"
    judged = judge_text(text)
    assert judged.category is Category.NETWORK_FABRIC
    assert judged.root_cause is not None
    assert judged.root_cause.text == line


@pytest.mark.parametrize(
    "consequence",
    [
        "proxy.cc:9 NCCL WARN [Proxy Service 0] Failed to execute operation Setup from rank 0",
        "proxy.cc:9 NCCL WARN Socket recv failed while polling for opId=0x7f",
    ],
)
@pytest.mark.parametrize(
    "cause",
    [
        "misc/socket.cc:9 NCCL WARN Connect to n4<9> failed : Software caused connection abort",
        "misc/socket.cc:9 NCCL WARN Call to connect to n4<9> failed : No route to host",
    ],
)
def test_what_a_proxy_could_not_finish_is_not_the_root(cause: str, consequence: str) -> None:
    judged = judge_text(f"n3:77:91 [0] {consequence}\nn3:77:90 [0] {cause}\n")
    assert judged.category is Category.NETWORK_FABRIC
    assert judged.root_cause is not None
    assert judged.root_cause.text == f"n3:77:90 [0] {cause}"


@pytest.mark.parametrize("blanks", [1, 4, 14])
@pytest.mark.parametrize(
    ("category", "error"),
    [
        (Category.CODE, "TypeError: 'NoneType' object is not callable"),
        (Category.COMPILE, "RuntimeError: Error building extension 'fast_mix'"),
        (Category.DATA_CORRUPT, "EOFError: Ran out of input"),
    ],
)
def test_a_traceback_that_is_indented_as_a_whole_is_read(
    category: Category, error: str, blanks: int
) -> None:
    lines = f"{TITLE}{OF_DATA[0]}    raise\n{error}\nwork directory kept\n".splitlines()
    text = "".join(f"{' ' * blanks}{line}\n" for line in lines)
    judged = judge_text(text)
    assert judged.category is category
    assert judged.root_cause is not None
    assert judged.root_cause.text == error


def test_a_librarys_line_of_long_ago_is_not_the_root() -> None:
    line = "n3:77:90 [2] misc/shm.cc:12 NCCL WARN Call to open failed: No such file or directory"
    error = "RuntimeError: NCCL error in: x.cpp:9, unhandled system error"
    judged = judge_text(f"{line}\n{STEPS}{STEPS}{error}\n")
    assert judged.root_cause is not None
    assert judged.root_cause.text == error


@pytest.mark.parametrize(
    ("category", "exit_code", "text"),
    [
        (Category.HARDWARE_ACCELERATOR, "1:0", "CUDA-capable device(s) is/are busy or unavailable"),
        (Category.HARDWARE_ACCELERATOR, "1:0", "NRT: Unable to determine Neuron Driver version."),
        (Category.NETWORK_FABRIC, "1:0", "Assertion failed in file x/netmod/tcp/y.c at line 9: 0"),
        (Category.SOFTWARE_CRASH, "1:0", "Assertion failed in file mpid/ch4/y.h at line 9: 0"),
        (Category.CODE, "1:0", "RuntimeError: a Tensor with 4 elements cannot be made a Scalar"),
        (Category.CODE, "1:0", "ValueError: only one element tensors can be converted to Python"),
        (Category.CODE, "1:0", "_pickle.PicklingError: Can't pickle <function f>"),
        (Category.CODE, "1:0", "numpy._core._exceptions._UFuncNoLoopError: ufunc 'add': no loop"),
        (Category.CONFIG, "1:0", "Error: the number of ranks must be a multiple of the blocks"),
        (Category.CONFIG, "22:0", "curl: (22) The requested URL returned error: 404"),
        (Category.CONFIG, "1:0", "urllib.error.HTTPError: HTTP Error 404: Not Found"),
        (Category.AUTH, "22:0", "curl: (22) The requested URL returned error: 403"),
        (Category.DEPENDENCY_SERVICE, "22:0", "curl: (22) The requested URL returned error: 429"),
        (Category.DEPENDENCY_SERVICE, "8:0", "2031-02-03 04:05:06 ERROR 503: Service Unavailable."),
        (Category.DEPENDENCY_SERVICE, "128:0", "error: RPC failed; curl 18 transfer closed"),
        (Category.DEPENDENCY_SERVICE, "12:0", "rsync: [receiver] connection unexpectedly closed"),
        (
            Category.DEPENDENCY_SERVICE,
            "1:0",
            (
                "pyxis: failed to import docker image\n"
                "pyxis:     [ERROR] Could not process JSON input\n"
                "pyxis:     curl: (22) The requested URL returned error: 429"
            ),
        ),
        (Category.NUMERIC_NAN, "134:0", "  what():  step 12: the residual is nan"),
        (Category.STORAGE_IO, "134:0", "  what():  could not write to out/field.7"),
        (Category.NETWORK_FABRIC, "134:0", "  what():  the connection to rank 7 was lost"),
        (Category.SOFTWARE_CRASH, "134:0", "  what():  map::at"),
        (Category.DEVICE_OOM, "1:0", "solver.cu:77: CUDA error: 2"),
        (Category.DEVICE_OOM, "1:0", "alloc: HIP error code 2"),
        (Category.HARDWARE_ACCELERATOR, "1:0", "init: cuda runtime error (214)"),
        (Category.SOFTWARE_CRASH, "1:0", "flux: CUDA error: 700"),
        (Category.SOFTWARE_CRASH, "1:0", "XlaRuntimeError: INTERNAL: Core halted unexpectedly: x"),
        (Category.HARDWARE_ACCELERATOR, "1:0", "Fatal error:\nCannot do it: no GPU is\ndetected."),
        (Category.HARDWARE_ACCELERATOR, "1:0", "RuntimeError: No accelerator found"),
        (Category.CODE, "1:0", f"{TITLE}RuntimeError: the plugin cannot be imported"),
        (Category.CODE, "1:0", f"{TITLE}ValueError: fastmix is not installed"),
        (Category.COMPILE, "1:0", f"{TITLE}RuntimeError: Failed to find C compiler."),
        (Category.CONFIG, "1:0", "ERROR: split: bad\n>>> split: each task must hold at least 4"),
        (Category.CONFIG, "86:0", "[0]PETSC ERROR: Unknown type. Check the spelling"),
        (Category.NUMERIC_NAN, "91:0", "[0]PETSC ERROR: SNESSolve has not converged"),
        (Category.NUMERIC_NAN, "91:0", "[0]PETSC ERROR: KSP stopped (reason DIVERGED_ITS)"),
        (Category.CONFIG, "255:0", 'FATAL:   Image file already exists: "a.sif"'),
        (Category.UNKNOWN, "255:0", "FATAL:   While pulling: the server closed the stream"),
        (Category.CONFIG, "1:0", "srun: error: You must specify a project!"),
        (
            Category.DEPENDENCY_SERVICE,
            "1:0",
            "srun: error: Unable to allocate resources: Unable to contact slurm controller",
        ),
        (Category.STORAGE_IO, "126:0", "run.sh: line 26: /w/wrap.sh: Text file busy"),
        (Category.CONFIG, "1:0", f"{TITLE}RuntimeError: too few samples, consider increasing it"),
        (Category.CONFIG, "1:0", "Key 'period' not in 'SaverConf'\n    full_key: saver.period"),
        (
            Category.CONFIG,
            "1:0",
            (
                "Lmod has detected the following error: A different version is already loaded.\n"
                "You should load another module that is compatible."
            ),
        ),
        (
            Category.NETWORK_FABRIC,
            "1:0",
            "DistBackendError: NCCL error in: x.cpp:9, internal error - please report this",
        ),
        (Category.HANG, "1:0", "RuntimeError: ACL stream synchronize failed, error code:507046"),
        (Category.NETWORK_FABRIC, "1:0", "worker 4 failed with UnavailableError():"),
        (Category.CONFIG, "1:0", "srun: fatal: Can not execute ./solver"),
        (Category.CODE, "1:0", f"{TITLE}RuntimeError: [flow][ERROR] Assertion failed: a == b * c"),
        (
            Category.STORAGE_IO,
            "1:0",
            f"{TITLE}SafetensorError: Error while serializing: IoError(Os {{ code: 14 }})",
        ),
        (
            Category.CHECKPOINT_CORRUPT,
            "1:0",
            f"{TITLE}SafetensorError: Error while deserializing header: HeaderTooSmall",
        ),
        (
            Category.NETWORK_RENDEZVOUS,
            "255:0",
            "[n7] - Abort(9) (rank 0 in comm 0): Fatal error in PMPI_Comm_connect: Invalid port, x",
        ),
        (
            Category.CODE,
            "255:0",
            "Abort(9) on node 7: Fatal error in PMPI_Send: Invalid tag, value",
        ),
        (
            Category.OOM_HOST,
            "134:0",
            (
                "terminate called after throwing an instance of 'flow::pool_error'\n"
                "  what():  the arena could not allocate memory for 12 pages\n"
            ),
        ),
        (
            Category.HANG,
            "1:0",
            "[2]<stderr>:[W ops.cc:9] Allreduce_grad_9 [missing ranks: 4]",
        ),
        (
            Category.HARDWARE_NODE,
            "255:0",
            "FATAL:   container creation failed: failed to find loop device: none is free",
        ),
        (
            Category.HARDWARE_NODE,
            "1:0",
            (
                "slurmstepd: error: pyxis:     id: cannot find name for user ID 42\n"
                "slurmstepd: error: pyxis:     mkdir: cannot create directory '/x/42': "
                "Permission denied\nslurmstepd: error: pyxis: couldn't start container"
            ),
        ),
        (
            Category.CONFIG,
            "134:0",
            (
                "terminate called after throwing an instance of 'PLMD::E'\nwhat():\n"
                "(core/Action.cpp:240) void PLMD::Action::error() const\n"
                "ERROR in input to action DISTANCE: two atoms must be given\n"
            ),
        ),
    ],
)
def test_words_of_a_class_tell_the_cause(category: Category, exit_code: str, text: str) -> None:
    assert judge_text(f"{text}\n", exit_code).category is category


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: no GPU found, falling back to the CPU",
        "Error of the probe: no GPU is visible, using the CPU",
    ],
)
def test_a_program_that_goes_on_without_a_gpu_has_not_failed_of_it(line: str) -> None:
    judged = judge_text(f"{line}\n{STEPS}{TITLE}MemoryError\n")
    assert judged.category is Category.OOM_HOST


def test_a_pointer_to_another_file_is_no_root() -> None:
    judged = judge_text(
        "Error in rule map:\n    log: 7.txt (check log file(s) for error details)\n"
    )
    assert judged.root_cause is not None
    assert judged.root_cause.text == "Error in rule map:"


@pytest.mark.parametrize(
    ("category", "line"),
    [
        (Category.CODE, "RuntimeError: The count of index files must match that of the archives"),
        (Category.CODE, "RuntimeError: batch size should be larger than zero"),
        (Category.CODE, "Exception: argument `lr` cannot be negative"),
        (Category.CODE, "RuntimeError: stack expects each row to be equal size, but got 4 at 2"),
        (Category.CODE, "RuntimeError: Unsupported dtype float8"),
        (Category.CONFIG, "kit.MisconfigurationException: No `train_dataloader` is defined"),
        (Category.UNKNOWN, "RuntimeError: the barrier must be reached by all ranks in 60 s"),
        (Category.DEPENDENCY_SERVICE, "ValueError: Connection error, and the cache has no copy"),
        (Category.NETWORK_RENDEZVOUS, "RuntimeError: Timed out initializing process group"),
        (Category.NETWORK_RENDEZVOUS, "OSError: Timed out trying to connect to 'tcp://n1:35695'"),
        (Category.DEVICE_OOM, "RuntimeError: No executable batch size found, reached zero."),
        (
            Category.NETWORK_FABRIC,
            "Terminating process because the coordinator detected missing heartbeats.",
        ),
    ],
)
def test_wording_tells_a_demand_from_trouble_outside(category: Category, line: str) -> None:
    assert judge_text(f"{TITLE}{line}\n").category is category


def test_a_check_that_fails_after_long_progress_stops_no_run() -> None:
    judged = judge_text(f"{STEPS * 10}{TITLE}RuntimeError: Unsupported dtype float8\n")
    assert judged.category is Category.UNKNOWN


def test_the_time_of_ctime_in_front_of_a_label_is_no_part_of_a_message() -> None:
    front = "Fri Sep 11 07:07:20 2020[0]<stderr>:"
    assert judge_text(f"{front}KeyError: 'loss'\n").category is Category.CODE
