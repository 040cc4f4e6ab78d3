"""Kinds of failures whose cause stands among consequences, or is told in other words: own texts."""

import pytest

from slurm_restart.core.attribution import Attribution
from tests.data.generator.case import RECOVERABLE

from .judge_text import judge_text

STEPS = "".join(f"step {number} | loss 2.1\n" for number in range(50))
TRACEBACK = 'Traceback (most recent call last):\n  File "t.py", line 3, in <module>\n'


def judge(exit_code: str, text: str) -> Attribution:
    """What `csx-restart classify --state FAILED` says."""
    return judge_text(f"{text}\n", exit_code)


@pytest.mark.parametrize(
    ("expected", "exit_code", "text"),
    [
        (
            "storage.full",
            "1:0",
            (
                "tensorflow.python.framework.errors_impl.ResourceExhaustedError: "
                "/scratch/ck/part-0; No space left on device [Op:SaveV2]"
            ),
        ),
        (
            "storage.full",
            "1:0",
            (
                "tensorflow.python.framework.errors_impl.ResourceExhaustedError: "
                "{{function_node __wrapped__SaveV2}} "
                "/w/out/model.ckpt-7_temp/part-00000-of-00001.data; No space left "
                "on device [Op:SaveV2] name: "
            ),
        ),
        (
            "storage.full",
            "1:0",
            (
                "W tensorflow/core/framework/op_kernel.cc:1828] OP_REQUIRES failed "
                "at save_restore_v2_ops.cc:175 : RESOURCE_EXHAUSTED: "
                "/w/out/x.data; No space left on device"
            ),
        ),
        (
            "storage.full",
            "0:11",
            (
                "ERROR:   Ran into error while saving 'optimizer.state.15.exp_avg'. Disable slist "
                "on flush dest failure failed (file write failed: time = Mon Nov 30 05:25:00 2026\n"
                ", filename = '/w/checkpoint_20.mdl.8b299f9b.tmp', file descriptor = 4, "
                "errno = 28, error message = 'No space left on device', buf = 0x7fe61c094260, "
                "total write size = 4096, bytes this sub-write = 4096, offset = 4785576)"
            ),
        ),
        (
            "storage.full",
            "1:0",
            (
                "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: "
                "/tmp/cache/jit_f; No space left on device"
            ),
        ),
        (
            "storage.full",
            "1:0",
            "google.api_core.exceptions.ResourceExhausted: 429 Disk quota exceeded",
        ),
        (
            "storage.full",
            "1:0",
            (
                "ValueError: RESOURCE_EXHAUSTED: Error writing local file "
                '"/ck/ocdbt.process_0/d/0": Disk quota exceeded [OS error 122: EDQUOT]'
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: level_zero backend failed with error: 40 "
                "(UR_RESULT_ERROR_OUT_OF_RESOURCES)"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: level_zero backend failed with error: 39 "
                "(UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: Native API failed. Native API returns: -5 "
                "(PI_ERROR_OUT_OF_RESOURCES) -5 (PI_ERROR_OUT_OF_RESOURCES)"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: Native API failed. Native API returns: 39 "
                "(ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            "clEnqueueNDRangeKernel failed: CL_MEM_OBJECT_ALLOCATION_FAILURE",
        ),
        (
            "memory.device_oom",
            "1:0",
            "RuntimeError: CL_OUT_OF_RESOURCES",
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: XPU out of memory, please use `empty_cache` to "
                "release all unoccupied cached memory."
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: MPS backend out of memory (MPS allocated: 17.9 GB, "
                "other allocations: 300 MB, max allowed: 18.1 GB)."
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: "
                "Attempting to reserve 6.48G at the bottom of memory. That was not "
                "possible."
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: "
                "Attempting to allocate 3.81G. That was not possible. There are 1.20G free."
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Error allocating "
                "device buffer: Attempting to allocate 11.50G. That was not "
                "possible. There are 8.00G free.; (0x0x0_HBM0)"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: Resource exhausted: Out of memory while trying to "
                "allocate 17179869184 bytes."
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED:\n"
                "Out of memory allocating 51539607552 bytes."
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: Resource exhausted:\n"
                "  Failed to allocate request for 2.00GiB (2147483648B) on device ordinal 0"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: RESOURCE_EXHAUSTED: Failed to allocate request for "
                "4.0GiB (4294967296B) on device ordinal 0"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "RuntimeError: Bad StatusOr access: RESOURCE_EXHAUSTED: Ran out of "
                "memory in memory space hbm. Used 20.1G of 15.7G hbm."
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "n1:10:20 [0] misc/socket.cc:483 NCCL WARN socketStartConnect: "
                "Connect to 10.0.0.3<41000> failed : Software caused connection abort\n"
                "[rank1]: torch.distributed.DistBackendError: NCCL error: remote "
                "process exited or there was a network error, NCCL version 2.21.5\n"
                "n3:11:22 [2] alloc.h:228 NCCL WARN Cuda failure 'out of memory'\n"
                "[rank9]: torch.distributed.DistBackendError: NCCL error: "
                "unhandled cuda error, NCCL version 2.21.5"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "n1:10:20 [0] NCCL INFO misc/socket.cc:47 -> 3\n"
                "n1:10:20 [0] misc/socket.cc:57 NCCL WARN socketProgress: "
                "Connection closed by remote peer n3<51159>\n"
                "n3:11:22 [2] include/alloc.h:103 NCCL WARN Cuda failure 2 'out of memory'"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "[rank0]:[E ProcessGroupNCCL.cpp:616] [Rank 0] Watchdog caught "
                "collective operation timeout: WorkNCCL(SeqNum=3)\n"
                "n3:11:22 [2] transport/net.cc:753 NCCL WARN Failed to CUDA malloc "
                "33554432 bytes\n"
                "n3:11:22 [2] include/alloc.h:103 NCCL WARN Cuda failure 'out of memory'"
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            (
                "socket complaints first\n"
                "[rank2]: RuntimeError: "
                "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection "
                "closed by peer [10.0.0.3]:1\n"
                "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to "
                "allocate 2.00 GiB."
            ),
        ),
        (
            "memory.device_oom",
            "1:0",
            "[rank3]: RCCL WARN HIP failure 'out of memory'",
        ),
        (
            "config|code",
            "134:0",
            (
                "--> FOAM FATAL ERROR: \n"
                "attempt to run parallel on 1 processor\n"
                "    From function static bool Foam::UPstream::init(int&, char**&)\n"
                "FOAM aborting\n"
                "[n3:1] Signal: Aborted (6)"
            ),
        ),
        (
            "config|code",
            "134:0",
            (
                "--> FOAM FATAL IO ERROR: \n"
                'keyword deltaT is undefined in dictionary "system/controlDict"\n'
                "\n"
                "file: system/controlDict from line 17 to line 50.\n"
                "\n"
                "    From function const Foam::entry& Foam::dictionary::lookupEntry\n"
                "    in file db/dictionary/dictionary.C at line 390.\n"
                "\n"
                "FOAM exiting"
            ),
        ),
        (
            "config|code",
            "134:0",
            (
                "[2] --> FOAM FATAL ERROR: (openfoam-2312 patch=240220)\n"
                "[2] Unknown patchField type fixdValue for patch type wall\n"
                "[2] FOAM parallel run aborting\n"
                "[n3:71] Signal: Aborted (6)\n"
                "[n3:71] [ 0] /lib/libc.so.6(+0x3c050)"
            ),
        ),
        (
            "config|code",
            "1:0",
            "ERROR STOP Number of processors does not match the decomposition",
        ),
        (
            "config|code",
            "1:0",
            (
                'Error in validate(model) : unknown family "gausian"\n'
                "Calls: main -> validate\n"
                "Execution halted"
            ),
        ),
        (
            "code|config",
            "1:0",
            (
                "ERROR: LoadError: UndefVarError: `stepsize` not defined\n"
                "Stacktrace:\n"
                " [1] top-level scope\n"
                "   @ /home/u/run.jl:12\n"
                "in expression starting at /home/u/run.jl:12"
            ),
        ),
        (
            "code|config",
            "1:0",
            "ERROR: LoadError: ArgumentError: Package Flux not found in current path.",
        ),
        (
            "code|config",
            "1:0",
            "ERROR: LoadError: MethodError: no method matching solve(::Int64)",
        ),
        (
            "config|code",
            "1:0",
            (
                'ERROR: LoadError: SystemError: opening file "params.toml": No '
                "such file or directory"
            ),
        ),
        (
            "config|code",
            "134:0",
            (
                "ERROR: input file has unknown keyword cuttof\n"
                "MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD\n"
                "with errorcode 1."
            ),
        ),
        (
            "config|code",
            "1:0",
            (
                "ERROR: Unknown pair style lj/cutt (src/force.cpp:278)\n"
                "Last command: pair_style lj/cutt 2.5\n"
                "------------------------------------------------------------------"
                "--------\n"
                "MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD\n"
                "with errorcode 1."
            ),
        ),
        (
            "cancelled",
            "130:0",
            (
                "step 4\n"
                "Traceback (most recent call last):\n"
                '  File "t.py", line 3, in <module>\n'
                "    time.sleep(5)\n"
                "KeyboardInterrupt"
            ),
        ),
        (
            "cancelled",
            "1:0",
            (
                "^CTraceback (most recent call last):\n"
                '  File "t.py", line 3, in <module>\n'
                "KeyboardInterrupt"
            ),
        ),
        (
            "cancelled",
            "1:0",
            (
                "srun: interrupt (one more within 1 sec to abort)\n"
                "srun: StepId=12.0 task 0: running\n"
                "srun: sending Ctrl-C to StepId=12.0\n"
                "srun: Job step aborted: Waiting up to 32 seconds for job step to finish.\n"
                "Traceback (most recent call last):\n"
                '  File "t.py", line 3, in <module>\n'
                "KeyboardInterrupt"
            ),
        ),
        (
            "cancelled",
            "1:0",
            (
                "W1104 10:00:00.000 9 "
                "torch/distributed/elastic/agent/server/api.py:719] Received 2 "
                "death signal, shutting down workers\n"
                "torch.distributed.elastic.multiprocessing.api.SignalException: "
                "Process 9 got signal: 2"
            ),
        ),
        (
            "cancelled",
            "1:0",
            (
                "Detected KeyboardInterrupt, attempting graceful shutdown ...\n"
                "Traceback (most recent call last):\n"
                '  File "t.py", line 3, in <module>\n'
                "RuntimeError: DataLoader worker (pid(s) 12) exited unexpectedly"
            ),
        ),
        (
            "cancelled",
            "130:0",
            (
                "[mpiexec@n1] Sending Ctrl-C to processes as requested\n"
                "[mpiexec@n1] Press Ctrl-C again to force abort"
            ),
        ),
        (
            "cancelled",
            "130:0",
            "forrtl: error (69): process interrupted (SIGINT)",
        ),
        (
            "config",
            "1:0",
            (
                "Could not override 'optim.lr'.\n"
                "To append to your config use +optim.lr=3\n"
                "Key 'optim' is not in struct\n"
                "    full_key: optim\n"
                "    object_type=dict\n"
                "\n"
                "Set the environment variable HYDRA_FULL_ERROR=1 for a complete "
                "stack trace."
            ),
        ),
        (
            "config",
            "1:0",
            (
                "In 'config': Could not find 'model/large'\n"
                "\n"
                "Available options in 'model':\n"
                "\tsmall\n"
                "Set the environment variable HYDRA_FULL_ERROR=1 for a complete "
                "stack trace."
            ),
        ),
        (
            "config",
            "1:0",
            (
                "omegaconf.errors.MissingMandatoryValue: Missing mandatory value: name\n"
                "    full_key: name\n"
                "    object_type=dict"
            ),
        ),
        (
            "config",
            "2:0",
            (
                "usage: train.py [-h] --data DATA\n"
                "train.py: error: the following arguments are required: --data"
            ),
        ),
        (
            "config",
            "1:0",
            TRACEBACK
            + (
                "    config = json.load(open('config.json'))\n"
                "json.decoder.JSONDecodeError: Expecting property name enclosed in "
                "double quotes: line 4 column 1 (char 37)"
            ),
        ),
        (
            "config",
            "1:0",
            ("hydra.errors.ConfigCompositionException: Could not override 'trainer.gpus'."),
        ),
        (
            "config",
            "1:0",
            (
                "LexerNoViableAltException: lr=[1,2\n"
                "                               ^\n"
                "See https://hydra.cc/docs/next/advanced/override_grammar/basic for details"
            ),
        ),
        (
            "code",
            "1:0",
            TRACEBACK + ("RuntimeError: expected scalar type Half but found Float"),
        ),
        (
            "code",
            "1:0",
            TRACEBACK
            + ("RuntimeError: mat1 and mat2 must have the same dtype, but got BFloat16 and Float"),
        ),
        (
            "code",
            "1:0",
            TRACEBACK
            + (
                "RuntimeError: Input type (torch.cuda.FloatTensor) and weight type "
                "(torch.cuda.HalfTensor) should be the same"
            ),
        ),
        (
            "code",
            "1:0",
            TRACEBACK
            + (
                "RuntimeError: Index put requires the source and destination "
                "dtypes match, got Float for the destination and BFloat16 for the source."
            ),
        ),
        (
            "code",
            "1:0",
            TRACEBACK
            + (
                "RuntimeError: Expected query, key, and value to have the same "
                "dtype, but got query.dtype: float key.dtype: c10::BFloat16"
            ),
        ),
        (
            "code",
            "1:0",
            TRACEBACK
            + ("RuntimeError: result type Float can't be cast to the desired output type Long"),
        ),
        (
            "code",
            "1:0",
            TRACEBACK
            + ("RuntimeError: expected m1 and m2 to have the same dtype, but got: float != double"),
        ),
        (
            "code",
            "1:0",
            TRACEBACK + ("RuntimeError: FlashAttention only support fp16 and bf16 data type"),
        ),
        (
            "code",
            "1:0",
            TRACEBACK
            + (
                "tensorflow.python.framework.errors_impl.InvalidArgumentError: "
                "cannot compute AddV2 as input #1(zero-based) was expected to be a "
                "float tensor but is a double tensor [Op:AddV2]"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "rm: cannot remove 'restart.old': No such file or directory\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "mkdir: cannot create directory 'out': File exists\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "cp: cannot stat 'last/*.rst': No such file or directory\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "ls: cannot access '*.pt': No such file or directory\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "mv: cannot stat 'a.new': No such file or directory\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "cat: /tmp/hosts.12: No such file or directory\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "grep: old.log: No such file or directory\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "/etc/profile.d/modules.sh: line 12: kill: (123) - No such process\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "tput: No value for $TERM and no -T specified\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "ln: failed to create symbolic link 'latest': File exists\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "chmod: cannot access 'run.sh': No such file or directory\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "touch: cannot touch '/var/lock/x': Permission denied\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "tail: cannot open 'out.log' for reading: No such file or directory\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "find: 'tmp': No such file or directory\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "unknown",
            "1:0",
            (
                "rmdir: failed to remove 'x': Directory not empty\n"
                "starting solver\n"
                "srun: error: n3: task 7: Exited with exit code 1"
            ),
        ),
        (
            "hardware.accelerator",
            "1:0",
            (
                "RuntimeError: CUDA error: CUDA_ERROR_CONTAINED: Invalid access of "
                "peer GPU memory over nvlink or a hardware error"
            ),
        ),
        (
            "hardware.accelerator",
            "1:0",
            (
                "RuntimeError: CUDA error: Invalid access of peer GPU memory over "
                "nvlink or a hardware error"
            ),
        ),
        (
            "hardware.accelerator",
            "1:0",
            "torch.AcceleratorError: CUDA error: cudaErrorContained: ...",
        ),
        (
            "network.fabric",
            "1:0",
            (
                "[n3][[12,1],3][btl_tcp_endpoint.c:626:mca_btl_tcp_endpoint_recv_co"
                "nnect_ack] received unexpected process identifier [[12,1],7]"
            ),
        ),
        (
            "network.fabric",
            "1:0",
            (
                "[n3][[12,1],3][btl_tcp_endpoint.c:796:mca_btl_tcp_endpoint_complet"
                "e_connect] connect() to 10.0.0.4 failed: No route to host (113)"
            ),
        ),
        (
            "network.fabric",
            "1:0",
            (
                "[n3][[12,1],3][btl_tcp_frag.c:241:mca_btl_tcp_frag_recv] "
                "mca_btl_tcp_frag_recv: readv failed: Connection reset by peer (104)"
            ),
        ),
        (
            "network.fabric",
            "1:0",
            (
                "WARNING: Open MPI failed to TCP connect to a peer MPI process.  This\n"
                "should not happen.\n"
                "  Local host: n3\n"
                "  Peer host: n4"
            ),
        ),
        (
            "hardware.accelerator|hardware.node",
            "1:0",
            (
                "qemu-system-x86_64: vfio 0000:3b:00.0: failed to open "
                "/dev/vfio/42: Device or resource busy"
            ),
        ),
        (
            "hardware.accelerator",
            "1:0",
            (
                "RuntimeError: TPU initialization failed: open(/dev/vfio/0): "
                "Device or resource busy: Couldn't open iommu group /dev/vfio/0"
            ),
        ),
        (
            "network.fabric|network.rendezvous",
            "1:0",
            (
                "RuntimeError: HCCL function error: HcclCommInitRootInfo, error code is 7\n"
                "[ERROR] TBE: EJ0001: Failed to initialize the HCCP process. "
                "Reason: Maybe the last training process is running."
            ),
        ),
        (
            "network.fabric",
            "1:0",
            (
                "EI0002: The wait execution of the Notify register times out. "
                "Reason: The Notify register has not received the Notify record "
                "from remote rank [3]."
            ),
        ),
        (
            "network.rendezvous|network.fabric",
            "1:0",
            (
                "EI0006: Getting socket times out. Reason: Remote Rank did not "
                "send the data in time."
            ),
        ),
        (
            "dependency.service",
            "1:0",
            "OSError: Couldn't reach 'allenai/c4' on the Hub (ConnectionError)",
        ),
        (
            "dependency.service",
            "1:0",
            ("ConnectionError: Couldn't reach https://raw.example.org/x.py (ConnectTimeout)"),
        ),
        (
            "data.corrupt",
            "1:0",
            STEPS + TRACEBACK + ("IndexError: index out of range in self"),
        ),
        (
            "data.corrupt",
            "1:0",
            STEPS + TRACEBACK + ("ValueError: token id 50300 exceeds the vocab_size 50257"),
        ),
        (
            "data.corrupt",
            "1:0",
            STEPS
            + TRACEBACK
            + (
                "tensorflow.python.framework.errors_impl.InvalidArgumentError: "
                "indices[0,7] = 50300 is not in [0, 50257) [Op:ResourceGather]"
            ),
        ),
        (
            "data.corrupt",
            "1:0",
            STEPS + TRACEBACK + ("RuntimeError: Class values must be smaller than num_classes."),
        ),
        (
            "data.corrupt",
            "1:0",
            STEPS + TRACEBACK + ("IndexError: Target 12 is out of bounds."),
        ),
        (
            "data.corrupt",
            "1:0",
            STEPS
            + TRACEBACK
            + ("RuntimeError: index 50300 is out of bounds for dimension 0 with size 50257"),
        ),
        (
            "data.corrupt",
            "1:0",
            STEPS + TRACEBACK + ("ValueError: Token id 128300 is out of vocabulary (size 128256)"),
        ),
        (
            "data.corrupt",
            "1:0",
            STEPS + TRACEBACK + ("AssertionError: found token ids >= vocab size: 50300 >= 50257"),
        ),
        (
            "data.corrupt|code",
            "1:0",
            STEPS + TRACEBACK + ("IndexError: index 300 is out of bounds for axis 0 with size 256"),
        ),
    ],
)
def test_the_cause_is_found_behind_what_hides_it(expected: str, exit_code: str, text: str) -> None:
    judged = judge(exit_code, text)
    categories = expected.split("|")
    assert judged.category.value in categories
    assert judged.recoverable in {RECOVERABLE[category] for category in categories}
