"""The ready-made checks, on files and programs that stand for those of a node."""

import socket

import pytest

from slurm_restart.supervise.gpu_checks import check_gpu
from slurm_restart.supervise.health_problem import UnhealthyError
from slurm_restart.supervise.ready_checks import (
    CheckContext,
    check_cpu,
    check_disk,
    check_memory,
    check_network,
)


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node: files by path, programs by name (`nvidia-smi=...` is the script's text)."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}")

    def node(files=(), **scripts):
        for path, text in dict(files).items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        for name, script in scripts.items():
            program = programs / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
        return CheckContext(run_dir=str(tmp_path), root=tmp_path, share=10)

    return node


def problem(check, *args):
    with pytest.raises(UnhealthyError) as found:
        check(*args)
    return str(found.value)


CPUS = "sys/devices/system/cpu"


def cpus(online="0-3", present="0-3", smt="on", load="1.00"):
    return {
        f"{CPUS}/online": online,
        f"{CPUS}/present": present,
        f"{CPUS}/smt/control": smt,
        "proc/loadavg": f"{load} 1.00 1.00 2/300 77",
    }


def test_cpus(node):
    assert check_cpu(node(cpus())) is None
    assert problem(check_cpu, node(cpus(online="0-1,3"))) == "3 of 4 CPUs are online"
    assert check_cpu(node(cpus(online="0,2", smt="off"))) is None
    assert problem(check_cpu, node(cpus(load="16.01"))) == "load 16.01 on 4 CPUs"
    assert check_cpu(node(cpus(load="16.00"))) is None


def test_a_node_without_these_files_passes_with_a_note(node):
    assert check_cpu(node()) == "CPUs or load cannot be read"
    assert check_memory(node()) == "memory cannot be read"


def memory(free, total=100 << 20):
    return {"proc/meminfo": f"MemTotal:  {total} kB\nMemFree: 1 kB\nMemAvailable: {free} kB\n"}


def test_memory(node):
    assert check_memory(node(memory(10 << 20))) is None
    assert problem(check_memory, node(memory((10 << 20) - 1))) == (
        "9 of 100 GiB of memory are free, 10 % are required"
    )
    errors = memory(50 << 20) | {"sys/devices/system/edac/mc/mc1/ue_count": "2\n"}
    assert problem(check_memory, node(errors)) == "2 uncorrected memory errors (mc1)"


def test_the_run_directory_has_to_be_writable_and_is_left_as_it_was(node, tmp_path):
    context = node({"tmp/x": ""})
    before = sorted(tmp_path.iterdir())
    assert check_disk(context) is None
    assert sorted(tmp_path.iterdir()) == before
    gone = CheckContext(run_dir=f"{tmp_path}/gone", root=tmp_path)
    assert problem(check_disk, gone) == f"{tmp_path}/gone: No such file or directory"


def test_the_free_space_of_tmp(node, tmp_path):
    node({"tmp/x": ""})
    context = CheckContext(run_dir=str(tmp_path), root=tmp_path, share=101)
    assert "101 % are required" in problem(check_disk, context)


def test_the_batch_host_is_reached_or_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        there = CheckContext(run_dir="/", host="127.0.0.1", port=port)
        assert check_network(there) is None
    assert "127.0.0.1 is not reached: Connection refused" in problem(check_network, there)
    assert check_network(CheckContext(run_dir="/")) == "the batch host listens nowhere"


def test_a_node_without_gpu_tools_passes_with_a_note(node, tmp_path):
    node()
    assert check_gpu(tmp_path) == "neither nvidia-smi, dcgmi nor rocm-smi can be used"


@pytest.mark.parametrize(
    ("scripts", "expected"),
    [
        ({"nvidia_smi": "echo '0, 0'; echo '1, [N/A]'"}, None),
        ({"nvidia_smi": "echo '0, 0'; echo '1, 3'"}, "GPU 1: 3 uncorrected ECC errors"),
        (
            {"nvidia_smi": "echo 'Unable to determine the device handle'; exit 255"},
            "nvidia-smi: Unable to determine the device handle (exit code 255)",
        ),
        ({"dcgmi": "echo '| Denylist | Pass |'"}, None),
        (
            {"dcgmi": "echo '| Pending Page Retirements  | Fail |'; exit 1"},
            "dcgmi diag: Pending Page Retirements Fail",
        ),
        ({"rocm_smi": "true"}, None),
        ({"rocm_smi": "echo no driver >&2; exit 2"}, "rocm-smi: no driver (exit code 2)"),
    ],
)
def test_gpu_tools(node, tmp_path, scripts, expected):
    node(**scripts)
    if expected is None:
        assert check_gpu(tmp_path) is None
    else:
        assert problem(check_gpu, tmp_path) == expected


def test_a_host_engine_that_does_not_run_shows_nothing(node, tmp_path):
    node(dcgmi="echo 'Error: unable to establish a connection' >&2; exit 255")
    assert check_gpu(tmp_path) is not None


@pytest.mark.parametrize(
    ("line", "failed"),
    [
        ("[ 9000.5] NVRM: Xid (PCI:0000:3b:00): 79, pid=7, GPU has fallen off the bus.", True),
        ("[ 9000.5] NVRM: Xid (PCI:0000:3b:00): 31, pid=7, MMU fault", False),
        ("[ 1000.5] NVRM: Xid (PCI:0000:3b:00): 79, pid=7, GPU has fallen off the bus.", False),
    ],
)
def test_fatal_xids_of_the_last_hour(node, tmp_path, line, failed):
    node({"proc/uptime": "10000.00 5.00"}, dmesg=f"echo '{line}'", nvidia_smi="true")
    if failed:
        assert problem(check_gpu, tmp_path) == "GPU 0000:3b:00: Xid 79"
    else:
        assert check_gpu(tmp_path) is None
