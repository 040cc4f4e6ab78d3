import bz2
import gzip
import io
import lzma
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm_restart.core.finding import Role
from slurm_restart.logs import zstd
from slurm_restart.logs.excerpt import excerpt
from slurm_restart.logs.log_files import FileScan, find_logs, scan_file, scan_stream
from slurm_restart.logs.rules import read_rules
from slurm_restart.logs.scanner import make_matcher

MATCHER = make_matcher(read_rules(site=None).rules)
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
LOG = "".join(f"step {n} | loss {n % 7}.{n % 83}\n" for n in range(3000)) + OOM + "\nbye\n"


def by_zstd(data: bytes) -> bytes:
    if shutil.which("zstd") is None:
        pytest.skip("the program zstd is not installed")
    return subprocess.run(["zstd", "-cq"], input=data, capture_output=True, check=True).stdout


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": by_zstd,
}
KINDS = pytest.mark.parametrize("kind", PACK)


def scan(tmp_path: Path, data: bytes, name: str = "job.out") -> FileScan:
    (tmp_path / name).write_bytes(data)
    return scan_file(tmp_path / name, MATCHER)


def many_lines() -> bytes:
    """A log that does not become small by compression, with its cause in the first line."""
    return (OOM + "\n" + "".join(f"{n * n * 7919 % 99991} {n}\n" for n in range(300_000))).encode()


def roots(found: FileScan) -> list[tuple[int, str]]:
    return [(one.line, one.text) for one in found.findings if one.role is Role.ROOT]


@pytest.fixture(params=["module", "program"])
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What decompresses zstd."""
    if request.param == "program":
        monkeypatch.setattr(zstd, "_module", lambda _: None)
    elif zstd.new_zstd_codec() is None:
        pytest.skip("zstandard is not installed")
    return str(request.param)


@KINDS
@pytest.mark.parametrize("name", ["job.out", "job.log.gz", "job.zst"])
def test_a_compressed_log_is_read_whatever_its_name(tmp_path: Path, kind: str, name: str) -> None:
    found = scan(tmp_path, PACK[kind](LOG.encode()), name)
    assert (found.compression, found.note, found.error) == (kind, None, None)
    assert (found.lines, found.size) == (3002, len(LOG))
    assert roots(found) == [(3001, OOM)]


def test_zstd_is_read_by_a_module_and_by_the_program(tmp_path: Path, provider: str) -> None:
    packed = by_zstd(LOG.encode())
    assert roots(scan(tmp_path, packed)) == [(3001, OOM)], provider
    long = by_zstd(many_lines())
    cut = scan(tmp_path, long[: len(long) * 3 // 4])
    assert "end early" in str(cut.note)
    assert roots(cut) == [(1, OOM)]
    assert excerpt_of(tmp_path, packed)


def excerpt_of(tmp_path: Path, data: bytes) -> bool:
    (tmp_path / "x").write_bytes(data)
    return excerpt(tmp_path / "x", 3001, lines=1) == [
        (3000, "step 2999 | loss 3.11"),
        (3001, OOM),
        (3002, "bye"),
    ]


@KINDS
def test_the_neighbours_of_a_line_are_read_again(tmp_path: Path, kind: str) -> None:
    assert excerpt_of(tmp_path, PACK[kind](LOG.encode()))


@KINDS
def test_several_streams_in_one_file_are_one_log(tmp_path: Path, kind: str) -> None:
    first, second = LOG[:20_000], LOG[20_000:]
    found = scan(tmp_path, PACK[kind](first.encode()) + PACK[kind](second.encode()))
    assert (found.note, roots(found)) == (None, [(3001, OOM)])


@KINDS
def test_a_pipe_may_carry_compressed_data(kind: str) -> None:
    found = scan_stream(io.BytesIO(PACK[kind](LOG.encode())), MATCHER, name="-")
    assert (found.compression, roots(found)) == (kind, [(3001, OOM)])


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_truncated_data_are_read_as_far_as_they_go(tmp_path: Path, kind: str) -> None:
    packed = PACK[kind](many_lines())
    found = scan(tmp_path, packed[: len(packed) * 3 // 4])
    assert found.note == f"the {kind} data end early"
    assert found.error is None
    assert roots(found) == [(1, OOM)]
    assert 1 < found.lines < 300_000


def test_damaged_data_are_read_up_to_the_damage(tmp_path: Path) -> None:
    packed = gzip.compress(many_lines())
    found = scan(tmp_path, packed[:-8] + b"\xff" * 8)
    assert "the gzip data are damaged" in str(found.note)
    assert roots(found) == [(1, OOM)]


@KINDS
def test_a_header_alone_is_an_error_and_no_text(tmp_path: Path, kind: str) -> None:
    found = scan(tmp_path, PACK[kind](b"")[:8])
    assert found.findings == ()
    assert "nothing could be read" in str(found.error)


def test_other_data_behind_the_compressed_ones_are_not_judged_as_text(tmp_path: Path) -> None:
    found = scan(tmp_path, gzip.compress(b"step 1\n") + OOM.encode())
    assert (found.note, roots(found)) == ("other data follow the gzip data", [])
    padded = scan(tmp_path, gzip.compress(LOG.encode()) + b"\0" * 100_000)
    assert (padded.note, roots(padded)) == (None, [(3001, OOM)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04" + OOM.encode(), "a ZIP archive: unpack it first"),
        (b"\x04\x22\x4d\x18" + OOM.encode(), "compressed by lz4"),
        (gzip.compress(lzma.compress(LOG.encode())), "compressed twice (gzip)"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    found = scan(tmp_path, data)
    assert message in str(found.error)
    assert found.findings == ()


def test_without_a_decompressor_for_zstd_the_message_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = by_zstd(LOG.encode())
    monkeypatch.setattr(zstd, "_module", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install the Python package zstandard or the program zstd" in str(
        scan(tmp_path, packed).error
    )


def test_text_with_the_name_of_a_compressed_log_is_text(tmp_path: Path) -> None:
    found = scan(tmp_path, LOG.encode(), "job.log.gz")
    assert (found.compression, roots(found)) == (None, [(3001, OOM)])


def test_a_bomb_is_read_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc  # noqa: PLC0415

    packer = lzma.LZMACompressor(preset=0)
    packed = b"".join(packer.compress(b"a" * (1 << 20)) for _ in range(128)) + packer.flush()
    assert len(packed) < 100_000
    (tmp_path / "bomb").write_bytes(packed)
    tracemalloc.start()
    found = scan_file(tmp_path / "bomb", MATCHER)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.size == 128 << 20
    assert peak < 32 << 20


def test_compressed_logs_of_a_directory_are_found(tmp_path: Path) -> None:
    for name in ("a.log.gz", "b.out.xz", "notes.gz"):
        (tmp_path / name).write_bytes(b"")
    assert find_logs([tmp_path]) == [tmp_path / "a.log.gz", tmp_path / "b.out.xz"]


def test_logs_below_a_directory_are_those_of_torchruns_last_attempt(tmp_path: Path) -> None:
    for place in ("run/attempt_0/0", "run/attempt_1/0", "run/attempt_1/1"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "stderr.log").write_text("x\n")
    assert find_logs([tmp_path]) == [
        tmp_path / "run/attempt_1/0/stderr.log",
        tmp_path / "run/attempt_1/1/stderr.log",
    ]


def test_a_quoted_pattern_names_its_files(tmp_path: Path) -> None:
    for name in ("rank0.txt", "rank1.txt", "other.txt"):
        (tmp_path / name).write_text("x\n")
    assert [one.name for one in find_logs([tmp_path / "rank*.txt"])] == ["rank0.txt", "rank1.txt"]
    assert find_logs([tmp_path / "no*.txt"]) == [tmp_path / "no*.txt"]
