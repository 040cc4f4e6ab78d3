"""Memory, crashes, hangs, and ends that say nothing or only look like failures."""

from tests.data.generator.case import Case
from tests.data.generator.rows import native, python, torch

MEMORY = (
    python("memory.python", "oom_host", "files.py memory_error", "^MemoryError"),
    python(
        "memory.numpy", "oom_host", "files.py memory_numpy", "ArrayMemoryError", needs=("numpy",)
    ),
    torch("memory.torch", "oom_host", "files.py memory_torch", "can't allocate memory"),
    python(
        "memory.killed_silently",
        "oom_host",
        "files.py memory_eaten",
        " Killed ",
        also=("unknown", "software.crash"),
        place="small_memory",
    ),
    Case(
        "memory.kernel_log",
        "oom_host",
        "python files.py memory_eaten\nstatus=$?\ndmesg | tail -n 12\nexit $status",
        "oom-kill:constraint=",
        also_root="Killed process ",
        place="small_memory",
    ),
    torch(
        "memory.worker",
        "oom_host",
        "data.py worker_eats_memory",
        "DataLoader worker \\(pid.*killed by signal: Killed",
        also=("unknown",),
        place="small_memory",
    ),
    torch(
        "memory.shm",
        "oom_host",
        "data.py worker_fills_shm",
        "shared memory|Bus error",
        also=("storage.full", "config", "software.crash"),
        place="small_shm",
    ),
    torch(
        "crash.worker_killed",
        "unknown",
        "data.py worker_is_killed",
        "DataLoader worker \\(pid.*killed by signal: Killed",
        also=("oom_host", "software.crash"),
    ),
)

CRASH = (
    python("crash.segfault", "software.crash", "crash.py segfault", "Segmentation fault"),
    python(
        "crash.segfault_with_stack",
        "software.crash",
        "crash.py segfault_with_stack",
        "^Fatal Python error: Segmentation fault",
    ),
    python("crash.bad_free", "software.crash", "crash.py bad_free", "^double free|^free\\(\\)"),
    python("crash.abort", "software.crash", "crash.py abort", " Aborted "),
    python(
        "crash.bus_error", "software.crash", "crash.py bus_error", "^Fatal Python error: Bus error"
    ),
    native(
        "crash.cpp_exception", "throws", "terminate called after throwing", also_root="what\\(\\): "
    ),
    native("crash.division", "divides", "Floating point exception"),
    native("crash.illegal", "illegal", "Illegal instruction"),
    native("crash.heap", "smashes", "^malloc|^free|^corrupted|sysmalloc"),
    torch("crash.worker", "software.crash", "data.py worker_segfaults", "Unexpected segmentation"),
    python(
        "crash.long_after_an_error",
        "software.crash",
        "crash.py caught_long_before_a_crash",
        "Segmentation fault",
    ),
    python("unknown.exit_code", "unknown", "crash.py silent_exit 7", None),
    python("unknown.killed", "unknown", "crash.py killed", " Killed ", also=("oom_host",)),
    python("unknown.terminated", "unknown", "crash.py terminated", None, also=("preemption",)),
    torch("hang.worker", "hang", "data.py worker_hangs", "DataLoader timed out after 3 seconds"),
    python("hang.watchdog", "hang", "data.py watchdog", "^Timeout \\(0:00:02\\)!"),
    python("hang.own_watchdog", "hang", "data.py own_watchdog", "CRITICAL watchdog: no progress"),
)

COMPLETED = (
    python("completed.retry", "completed", "-u crash.py retry_that_succeeds", None),
    python("completed.caught_traceback", "completed", "-u crash.py caught_traceback", None),
    python("completed.destructor", "completed", "-u crash.py ignored_in_destructor", None),
    python(
        "code.after_a_retry", "code", "-u crash.py retry_then_bug", "^TypeError: object of type"
    ),
)

DEVICE = (
    torch(
        "device.out_of_memory",
        "memory.device_oom",
        "device.py out_of_memory",
        "OutOfMemoryError",
        needs=("cuda",),
    ),
    torch(
        "device.assert",
        "data.corrupt",
        "device.py index",
        "device-side assert triggered|Assertion `",
        needs=("cuda",),
    ),
)

CASES = (*MEMORY, *CRASH, *COMPLETED, *DEVICE)
