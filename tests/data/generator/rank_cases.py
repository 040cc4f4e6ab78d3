"""Cases of several ranks: under torchrun, over gloo."""

from typing import Any

from tests.data.generator.case import Case


def ranks(name: str, category: str, what: str, root: str | None, **more: Any) -> Case:
    """Ranks that fail together at one step."""
    count, options = more.pop("ranks", 2), more.pop("torchrun", "--standalone")
    before, needs = more.pop("before", ""), ("torch", *more.pop("needs", ()))
    script = f"{before}torchrun {options} --nproc-per-node {count} ranks.py {what}"
    return Case(f"ranks.{name}", category, script, root, needs=needs, **more)


def death(name: str, category: str, what: str, number: int, **more: Any) -> Case:
    """A rank that a signal ends: the launcher says so last, after the peers' complaints."""
    said = (rf"exitcode: -{number}\)", rf"exitcode  : -{number} ", rf"Signal {number} \(\w+\) rec")
    root = "|".join(("Fatal Python error: ", *said))
    return ranks(name, category, what, root, also_root=root, **more)


CASES = (
    ranks("bug", "code", "bug", "AttributeError: 'dict' object"),
    ranks("bug_of_four", "code", "bug", "AttributeError: 'dict' object", ranks=4),
    ranks("bug_everywhere", "code", "bug_everywhere", "mat1 and mat2 shapes cannot", ranks=3),
    ranks(
        "bug_with_labels",
        "code",
        "bug",
        "AttributeError: 'dict' object",
        torchrun="--standalone --log-dir logs --tee 3",
    ),
    ranks("bad_index", "data.corrupt", "bad_index", "IndexError: index out of range", ranks=3),
    ranks("nan", "numeric.nan", "not_a_number", "FloatingPointError: rank"),
    ranks("chained", "storage.full", "chained", r"OSError: \[Errno 28\]"),
    ranks("unused_parameters", "code", "unused_parameters", "Expected to have finished reduction"),
    ranks(
        "truncated_shard",
        "checkpoint.corrupt",
        "truncated_shard",
        "PytorchStreamReader failed|Invalid argument",
    ),
    ranks(
        "missing_shard",
        "config",
        "missing_shard",
        "FileNotFoundError",
        also=("checkpoint.corrupt", "code"),
    ),
    death("killed", "unknown", "die SIGKILL", 9, also=("oom_host", "software.crash")),
    death(
        "killed_of_four", "unknown", "die SIGKILL", 9, ranks=4, also=("oom_host", "software.crash")
    ),
    death("segfault", "software.crash", "segfault", 11),
    death("aborted", "software.crash", "die SIGABRT", 6),
    death("bus_error", "software.crash", "die SIGBUS", 7, ranks=3),
    ranks(
        "oom_with_kernel_log",
        "oom_host",
        "eat_memory || { status=$?; dmesg | tail -n 12; exit $status; }",
        "oom-kill:constraint=",
        also_root="Killed process ",
        place="small_memory",
    ),
    ranks(
        "silent_exit", "unknown", "leave 3", r"exitcode: 3\) local_rank", also_root="exitcode  : 3 "
    ),
    ranks(
        "cut_off",
        "network.fabric",
        "cut",
        r"\[rank\d\].*(Connection|connection|Read error|Write error)",
        also_root=r"pair.cc.*(Connection|connection|Read error|Write error)",
        also=("unknown",),
        place="own_network",
        needs=("ss",),
    ),
    ranks(
        "stall", "hang", "stall", "Timed out waiting|timed out", before="export GLOO_TIMEOUT=3\n"
    ),
    ranks(
        "barrier",
        "hang",
        "barrier",
        "Rank 1 failed to pass monitoredBarrier",
        also_root="Rank 1 failed to pass|Timed out waiting",
    ),
    ranks(
        "terminated",
        "preemption",
        "terminate_all",
        "Received 15 death signal",
        also_root="got signal: 15",
        also=("unknown",),
    ),
    Case(
        "ranks.restarted_and_done",
        "completed",
        "torchrun --standalone --max-restarts 1 --nproc-per-node 2 crash.py fails_once",
        None,
        needs=("torch",),
    ),
    ranks(
        "two_attempts",
        "code",
        "another_each_time",
        "AttributeError: 'dict' object",
        torchrun="--standalone --max-restarts 1",
    ),
    Case(
        "ranks.no_script",
        "config",
        "torchrun --standalone --nproc-per-node 2 train_gpt.py",
        "can't open file",
        also=("code",),
        needs=("torch",),
    ),
    ranks(
        "too_few_nodes",
        "network.rendezvous",
        "nothing",
        "^torch.*RendezvousTimeoutError",
        torchrun="--nnodes 2 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:0"
        " --rdzv-conf join_timeout=4,timeout=4",
    ),
    Case(
        "ranks.store_timeout",
        "network.rendezvous",
        "export RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29777 GLOO_TIMEOUT=4\n"
        "python ranks.py nothing",
        "[Tt]imed out",
        needs=("torch",),
    ),
    Case(
        "ranks.no_store",
        "network.rendezvous",
        "export RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29778 GLOO_TIMEOUT=4\n"
        "python ranks.py nothing",
        "socket has timed out",
        also_root="socket has timed out",
        needs=("torch",),
    ),
    Case(
        "ranks.no_such_host",
        "network.rendezvous",
        "export RANK=1 WORLD_SIZE=2 MASTER_ADDR=node7.invalid MASTER_PORT=29779 GLOO_TIMEOUT=4\n"
        "python ranks.py nothing",
        "cannot be retrieved",
        also_root="cannot be retrieved|socket has timed out",
        needs=("torch",),
    ),
    Case(
        "ranks.port_in_use",
        "network.rendezvous",
        "python -m http.server 29780 --bind :: >/dev/null 2>&1 & server=$!\n"
        "sleep 1\n"
        "export RANK=0 WORLD_SIZE=1 MASTER_ADDR=127.0.0.1 MASTER_PORT=29780\n"
        "python ranks.py nothing\n"
        "status=$?; kill $server; exit $status",
        "EADDRINUSE",
        needs=("torch",),
    ),
    Case(
        "ranks.port_in_use_by_the_store",
        "network.rendezvous",
        "python -m http.server 29781 --bind :: >/dev/null 2>&1 & server=$!\n"
        "sleep 1\n"
        "torchrun --nproc-per-node 2 --master-port 29781 ranks.py nothing\n"
        "status=$?; kill $server; exit $status",
        "EADDRINUSE",
        needs=("torch",),
    ),
    ranks(
        "other_size",
        "code",
        "other_size",
        "preamble",
        also_root="terminate called",
        also=("software.crash", "unknown", "network.fabric"),
    ),
)
