"""Crashes of native code, ends without a word, and ends that are none."""

import ctypes
import faulthandler
import logging
import mmap
import os
import signal
import sys
import time
import traceback

from usual import train


def segfault():
    train(15, seconds=0.001)
    ctypes.string_at(8)


def segfault_with_stack():
    faulthandler.enable()
    train(15)
    ctypes.string_at(8)


def bad_free():
    train(5, seconds=0.001)
    libc = ctypes.CDLL(None)
    libc.free.argtypes = [ctypes.c_void_p]
    libc.free(ctypes.addressof(ctypes.create_string_buffer(64)) + 16)


def abort():
    train(5, seconds=0.001)
    os.abort()


def bus_error():
    """Reading a mapped file that somebody has cut short."""
    faulthandler.enable()
    with open("weights.bin", "wb+") as file:
        file.truncate(1 << 16)
        view = mmap.mmap(file.fileno(), 0)
        file.truncate(0)
    train(5)
    view[5000]


def native(program):
    train(5, seconds=0.001)
    os.execv(f"./{program}", [program])


def silent_exit(code):
    train(18)
    sys.stdout.flush()
    os._exit(int(code))


def long(steps=40):
    train(int(steps), seconds=0.5)


def killed():
    train(18, seconds=0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def terminated():
    train(18, seconds=0.001)
    os.kill(os.getpid(), signal.SIGTERM)


# --- what looks like a failure and is none -------------------------------------------------------


def retry(times=3):
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO
    )
    for attempt in range(1, times + 1):
        try:
            if attempt < times:
                raise ConnectionResetError(104, "Connection reset by peer")
        except ConnectionError:
            logging.warning(
                "upload failed, retrying in 0.1 s (attempt %d/5)", attempt, exc_info=True
            )
            time.sleep(0.1)
    logging.info("upload succeeded at attempt %d", times)


def retry_that_succeeds():
    train(10)
    retry()
    train(10, start=10)


def caught_traceback():
    train(5)
    try:
        raise MemoryError("cache")
    except MemoryError:
        traceback.print_exc()
    train(15, start=5)
    print("training finished")


def fails_once():
    """A rank that the launcher starts a second time."""
    train(10)
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and os.environ["RANK"] == "1":
        raise ConnectionResetError(104, "Connection reset by peer")


def retry_then_bug():
    train(10)
    retry()
    train(10, start=10)
    return len(42)


def caught_long_before_a_crash():
    try:
        open("/nonexistent/cache")
    except OSError:
        logging.exception("no cache: going on without")
    for start in range(0, 3000, 100):
        train(100, start=start)
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def ignored_in_destructor():
    class Writer:
        def __del__(self):
            raise OSError(5, "Input/output error")

    train(5)
    Writer()
    train(15, start=5)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
