"""What of this machine is taken out of a log: temporary paths and the host's name, nothing else."""

import re
import socket
from collections.abc import Mapping
from pathlib import Path

RUN, PYTHON, HOST = "/home/user/run", "/opt/python", "node1"


def scrub(log: str, places: Mapping[Path, str]) -> str:
    """Replace the paths of this machine and its name by neutral ones.

    Args:
        log: as printed.
        places: what stands for each path; the longest path is replaced first.
    """
    for path in sorted(places, key=lambda path: -len(str(path))):
        log = log.replace(str(path), places[path])
    for name in {socket.getfqdn(), socket.gethostname(), socket.gethostname().split(".")[0]}:
        if name not in ("", "localhost"):
            log = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", HOST, log)
    return log
