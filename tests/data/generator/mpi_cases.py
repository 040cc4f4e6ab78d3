"""Ranks under Open MPI's mpirun."""

from typing import Any

from tests.data.generator.case import Case

MPIRUN = (
    "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1\n"
    "export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_rmaps_base_oversubscribe=1\n"
)
RUN = f"{MPIRUN}mpicc -o ranks ranks.c\nmpirun "


def mpi(name: str, category: str, root: str | None, **more: Any) -> Case:
    """Ranks of a C program."""
    count, options = more.pop("ranks", 2), more.pop("options", "")
    script = f"{RUN}{options}-n {count} ./ranks {more.pop('how', name)}"
    return Case(f"mpi.{name}", category, script, root, needs=("openmpi",), **more)


def python(name: str, category: str, code: str, root: str, **more: Any) -> Case:
    """Ranks of a Python program with mpi4py."""
    text = f"from mpi4py import MPI\nrank = MPI.COMM_WORLD.rank\n{code}\nMPI.COMM_WORLD.Barrier()\n"
    script = f"cat >ranks_mpi.py <<'END'\n{text}END\n{MPIRUN}"
    script += "mpirun -n 2 python -m mpi4py ranks_mpi.py"
    return Case(f"mpi.{name}", category, script, root, needs=("openmpi", "mpi4py"), **more)


ABORTED = "MPI_ABORT was invoked on rank 1"

CASES = (
    mpi("abort_told", "config", "ERROR: input deck has 12 blocks", also=("code",)),
    mpi("abort", "unknown", ABORTED),
    mpi(
        "abort_of_four",
        "unknown",
        ABORTED,
        how="abort",
        ranks=4,
    ),
    mpi(
        "leave",
        "unknown",
        "but 1 process returned|exited with a non-zero|Exit code|exiting improperly|exit status",
        also=("code",),
    ),
    mpi("segfault", "software.crash", "Signal: Segmentation fault", also_root="signal 11"),
    mpi("bus", "software.crash", "Signal: Bus error", also_root="signal 7", ranks=3),
    mpi("kill", "unknown", "exited on signal 9", also=("oom_host", "software.crash")),
    mpi("libabort", "software.crash", "Signal: Aborted", also_root="signal 6"),
    mpi("truncate", "code", "MPI_ERR_TRUNCATE"),
    mpi("bad_rank", "code", "MPI_ERR_RANK"),
    mpi("bad_count", "code", "MPI_ERR_COUNT"),
    mpi("nan", "numeric.nan", "NaN detected in field rho"),
    mpi("io", "config", "MPI_ERR_NO_SUCH_FILE", also=("storage.io",)),
    mpi("term", "preemption", None, also=("unknown",)),
    mpi("interrupt", "cancelled", None, also=("unknown", "preemption")),
    mpi(
        "hang",
        "hang",
        "time limit for job execution",
        options="--timeout 4 ",
        also=("timeout", "unknown"),
        also_root="time limit|has been reached|[Tt]imeout",
    ),
    mpi("again", "code", "after MPI_FINALIZE was invoked", also=("unknown", "software.crash")),
    Case(
        "mpi.slots",
        "config",
        "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1\n"
        "mpirun -host localhost:2 -n 64 hostname",
        "not enough slots available",
        needs=("openmpi",),
    ),
    Case(
        "mpi.no_program",
        "config",
        f"{MPIRUN}mpirun -n 2 ./solver_mpi",
        "unable to (find|launch) the specified",
        needs=("openmpi",),
        also=("code",),
    ),
    Case(
        "mpi.no_host",
        "network.rendezvous",
        f"{MPIRUN}export OMPI_MCA_plm_rsh_agent=ssh\nmpirun -host node7.invalid -n 2 hostname",
        "Could not resolve hostname|unable to resolve|daemon has unexpectedly failed",
        needs=("openmpi",),
        also=("network.fabric", "dependency.service", "config"),
        also_root="Could not resolve|daemon|ssh",
    ),
    Case(
        "mpi.bad_option",
        "config",
        f"{MPIRUN}mpirun --nprocs-per-node 2 hostname",
        "[Uu]nrecognized|unknown option|Error: unknown",
        needs=("openmpi",),
    ),
    Case(
        "mpi.as_root",
        "config",
        "unset OMPI_ALLOW_RUN_AS_ROOT\nmpirun -n 2 hostname",
        "has detected an attempt to run as root|strongly",
        needs=("openmpi",),
        also_root="root",
        also=("auth",),
    ),
    Case(
        "mpi.noise_then_done",
        "completed",
        f"{RUN}-n 2 ./ranks fine; rm -r scratch.old; exit 0",
        None,
        needs=("openmpi", "gcc"),
    ),
    python("python_bug", "code", "if rank == 1: print(rates)", "^NameError"),
    python(
        "python_type",
        "code",
        "import numpy\nif rank == 1: numpy.ones(3) @ numpy.ones(4)",
        "^ValueError",
        also=("data.corrupt",),
    ),
    python(
        "python_truncate",
        "code",
        "import numpy\n"
        "if rank == 0: MPI.COMM_WORLD.Send(numpy.zeros(64), 1)\n"
        "if rank == 1: MPI.COMM_WORLD.Recv(numpy.zeros(8), 0)",
        "MPI_ERR_TRUNCATE",
    ),
    python(
        "python_config",
        "config",
        "if rank == 1: open('conf/grid.yaml')",
        "^FileNotFoundError",
    ),
)
