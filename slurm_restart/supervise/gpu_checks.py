"""Check the GPUs of a node by the vendors' tools, where they are installed."""

import re
import shutil
import subprocess
from pathlib import Path

from slurm_restart.supervise.health_problem import UnhealthyError
from slurm_restart.supervise.health_request import one_line

RECENT = 3600.0
"""Seconds for which an Xid message counts; a reset may have mended what is older."""
FATAL_XIDS = frozenset({48, 62, 64, 74, 79, 95, 119, 120, 140})
"""Xids after which the GPU, or the node, has to be reset or repaired.

docs.nvidia.com/deploy/xid-errors: 48 double-bit ECC, 62 halted micro-controller, 64 failed
remapping of memory, 74 NVLink, 79 fallen off the bus, 95 uncontained ECC, 119 and 120 GSP, 140
unrecovered ECC.
"""
_XID = re.compile(
    r"^\[\s*([\d.]+)\] NVRM: Xid \((?:PCI:)?([^)]*)\): (\d+)", re.MULTILINE | re.ASCII
)
_ECC = "ecc.errors.uncorrected.volatile.total"


def check_gpu(root: Path = Path("/")) -> str | None:
    """Check the GPUs; return a note where nothing can be checked.

    Raises:
        UnhealthyError: a tool fails or finds an error.
    """
    found = [_check_nvidia(), _check_dcgm(), _check_rocm()]
    _check_xids(root)
    return None if any(found) else "neither nvidia-smi, dcgmi nor rocm-smi can be used"


def _check_nvidia() -> bool:
    """Check that every GPU answers, and its uncorrected ECC errors since the driver was loaded."""
    query = f"--query-gpu=index,{_ECC}"
    done = _run("nvidia-smi", query, "--format=csv,noheader,nounits")
    if done is None:
        return False
    _require_success(done)
    for line in done.stdout.splitlines():
        index, _, count = (part.strip() for part in line.partition(","))
        if count.isdecimal() and int(count):  # "[N/A]" where there is no ECC
            raise UnhealthyError(f"GPU {index}: {count} uncorrected ECC errors")
    return True


def _check_dcgm() -> bool:
    """Run the quick diagnosis of DCGM, which needs its host engine: without it nothing is known."""
    done = _run("dcgmi", "diag", "-r", "1")
    if done is None:
        return False
    failed = next((line for line in done.stdout.splitlines() if re.search(r"\bFail\b", line)), None)
    if failed is not None:
        raise UnhealthyError(f"dcgmi diag: {' '.join(failed.replace('|', ' ').split())}")
    return not done.returncode


def _check_rocm() -> bool:
    """Check that AMD's GPUs answer."""
    done = _run("rocm-smi", "--showid")
    if done is None:
        return False
    _require_success(done)
    return True


def _check_xids(root: Path) -> None:
    """Check the kernel's log for Xid messages, where it may be read."""
    done = _run("dmesg")
    if done is None or done.returncode:
        return
    try:
        uptime = float((root / "proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    for at, device, xid in _XID.findall(done.stdout):
        if int(xid) in FATAL_XIDS and uptime - float(at) <= RECENT:
            raise UnhealthyError(f"GPU {device}: Xid {xid}")


def _run(*command: str) -> "subprocess.CompletedProcess[str] | None":
    """Run a tool; None: it is not there. The deadline is that of the whole check."""
    if shutil.which(command[0]) is None:
        return None
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _require_success(done: "subprocess.CompletedProcess[str]") -> None:
    if done.returncode:
        text = one_line(done.stdout + done.stderr)
        raise UnhealthyError(f"{done.args[0]}: {text} (exit code {done.returncode})")
