"""A file system that does not answer, mounted over a directory: a stand-in for a stalled server.

It is a FUSE file system whose server accepts the mount and reads nothing more. As on a hard NFS
mount, a process that opens a path below it waits until it is unmounted or the process is killed.
Only root may mount it.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DETACH = 2
_INIT = 26
# Answer to FUSE_INIT (linux/fuse.h): version 7.31, no options, 4096 bytes a write.
_ANSWER = struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0, *[0] * 7)
_HEADER = "<IiQ"


@contextmanager
def hanging(directory: Path) -> Iterator[None]:
    """Let every new access below a directory hang until the block is left.

    Raises:
        OSError: this process may not mount.
    """
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    path = os.fsencode(directory)
    options = f"fd={server},rootmode=40755,user_id=0,group_id=0,allow_other"
    try:
        if libc.mount(b"hanging", path, b"fuse.hanging", 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount", str(directory))
        try:
            _, opcode, unique = struct.unpack_from("<IIQ", os.read(server, 1 << 17))
            assert opcode == _INIT
            length = struct.calcsize(_HEADER) + len(_ANSWER)
            os.write(server, struct.pack(_HEADER, length, 0, unique) + _ANSWER)
            yield
        finally:
            libc.umount2(path, _DETACH)
    finally:
        os.close(server)
