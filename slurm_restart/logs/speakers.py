"""Tell from the front of a line who printed it, and on which host."""

import re

from slurm_restart.core.finding import Speaker
from slurm_restart.logs.host_prefixes import PREFIX, host_in

_HOST = r"[A-Za-z0-9][\w.-]{0,127}"
_SYSLOG = re.compile(
    rf"(?:[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d )?(?:(?P<host>{_HOST}) )?"
    r"(?P<name>kernel|slurmd|slurmstepd|slurmctld)(?:\[[\w.-]{1,64}\])?: "
)
_DMESG = re.compile(r"\[ *\d{1,8}\.\d{6}\] (?!\[)")
_DAEMON = re.compile(
    rf"(?:slurmstepd|slurmd|slurmctld|slurmdbd)(?:-(?P<host>{_HOST})|\[(?P<other>{_HOST})\])?: "
)
_CONTAINER = re.compile(
    r"(?:error: )?(?:spank: .{0,60})?(?:pyxis|enroot(?:-\w{1,20})?|nvidia-container-(?:cli|runtime)"
    r"|docker|dockerd|podman|apptainer|singularity|charliecloud|ch-run(?:\[\d+\])?|sarus|shifter"
    r"|runc|crun|conmon|OCI runtime error|Error response from daemon)\b ?(?::|\[|(?=Error ))"
)
# Apptainer pads its levels with blanks.
_APPTAINER = re.compile(r"(?:FATAL: {3}|ERROR  : |WARNING: {1}|INFO: {4})(?=\S)")
_COMMAND = re.compile(
    r"(?:srun|sbatch|salloc|scancel|scontrol|torchrun|accelerate|deepspeed|mpirun|mpiexec|prun"
    r"|prterun|orterun|aprun|jsrun|horovodrun)\b(?:\.\w{1,20})?"
    r"(?: ?:| error| was| has| noticed| detected)"
)
_TASK = re.compile(rf"srun: (?:error: )?(?P<host>{_HOST}): tasks? [\d,-]+: ")
_NAMED_BY_SRUN = re.compile(
    r"srun: error: (?:Node failure on|Task launch for \S{1,40} failed on node) "
    rf"(?P<host>{_HOST})(?![\w\[,])"
)
_HYDRA = re.compile(
    rf"\[(?:proxy:[\d:]{{1,20}}|mpiexec)@(?P<host>{_HOST})\]"
    r"|(?:BAD TERMINATION|EXIT (?:CODE|STRING):)|(?:ORTE|PRTE|prted?)[ :]"
)
_AGENT = re.compile(
    r"(?:[EWI]\d{4} .{0,60})?(?:torch[/.]distributed[/.](?:elastic|launcher|run)\b"
    r"|\[(?:launch|runner|multinode_runner)\.py:\d)"
)
_NCCL = re.compile(rf"(?P<host>{_HOST}):\d{{1,10}}(?::\d{{1,10}})? (?:\[\d{{1,3}}\] )?(?=\S)")
_NCCL_WORDS = re.compile(r"\b(?:NCCL|RCCL|NET/\w|graph/|transport/|misc/|init\.cc|proxy\.cc)")
_UCX = re.compile(rf"\[\d{{1,12}}\.\d{{1,9}}\] \[(?P<host>{_HOST}):\d{{1,10}}[ :]")
_CRASHED = re.compile(rf"\[(?P<host>{_HOST}):\d{{1,10}}(?::\d{{1,4}}:\d{{1,10}})?\]")
_LIBRARY = re.compile(
    r"libfabric:[\w:]+|UCX +(?:ERROR|FATAL|WARN)|NCCL (?:WARN|INFO|ERROR)|(?:RCCL|aws-ofi)\b"
    r"|[EWIF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S{1,200}\.(?:cc|cpp|cu|h):\d+\]"
    r"|\[?[EWIF]\d{0,4}(?: [\d:.]{8,20})? (?:\w{1,60}\.cpp|external/|tensorflow/|xla/)"
    r"\S{0,200}:\d+\]"
    r"|libgomp: |OMP: (?:Error|Warning|Info)|OpenBLAS|Intel MKL (?:ERROR|FATAL)|HDF5-DIAG"
    r"|PSM[23]?\b"
    r"|(?:\w{1,40}\.(?:c|cc|cpp):\d{1,6} +)?(?:UCX|UCP|UCT)\b"
)
_SHELL = re.compile(
    r"(?:-?(?:/\S{1,40}/)?(?:bash|sh|zsh|dash|ksh|csh|tcsh)|\S{1,300}): (?:line )?\d{1,6}: "
    r"|-?(?:/\S{1,40}/)?(?:bash|sh|zsh|dash|ksh|csh|tcsh|env): "
    r"|(?:/(?:usr/)?(?:s?bin)/)?(?:rm|cp|mv|ln|ls|cat|cd|mkdir|rmdir|touch|chmod|chown|chgrp|stat|find|grep"
    r"|egrep|sed|awk|gawk|head|tail|sort|tee|wc|cut|tr|diff|cmp|tar|gzip|gunzip|zcat|unzip|xargs|du|df"
    r"|kill|pkill|ps|which|test|dirname|basename|readlink|realpath|mktemp|rsync|scp|seq|sleep|source"
    r"|module|ulimit|renice|tput|stty|nproc|numactl|taskset)"
    r": "
    r"|(?:CondaError|CommandNotFoundError|EnvironmentNameNotFound(?:Error)?"
    r"|EnvironmentLocationNotFound): "
    r"|Lmod has detected the following error|ModuleCmd_\w{1,20}\.c\(\d+\):"
)


def identify_speaker(text: str, label: str, message: str) -> tuple[Speaker, str]:
    """Return who printed a line and the host that its front names (empty: none, or several).

    A speaker without a sign of its own is the program: who prints what cannot be told apart there.

    Args:
        text: the readable line.
        label: the rank labels in front of it; see `split_label`.
        message: the line without labels, time and level, and without blanks at its ends.
    """
    message = message.strip()
    named = PREFIX.match(message)
    host = named["host"] if named else host_in(label)
    if named:
        message = message[named.end() :].lstrip()
    if crashed := _CRASHED.match(label):
        host = host or crashed["host"]
    speaker, own = _by_front(text, message)
    return speaker, own or host


def _by_front(text: str, message: str) -> tuple[Speaker, str]:
    """Return the speaker and the host by the front of a message."""
    if daemon := _DAEMON.match(message):
        inside = _CONTAINER.match(message, daemon.end())
        speaker = Speaker.CONTAINER if inside else Speaker.SLURM
        return speaker, daemon["host"] or daemon["other"] or ""
    if logged := _SYSLOG.match(message) or _SYSLOG.match(text.strip()):
        kernel = logged["name"] == "kernel"
        return Speaker.KERNEL if kernel else Speaker.SLURM, logged["host"] or ""
    for pattern, speaker in _FRONTS:
        if found := pattern.match(message):
            return speaker, found.groupdict().get("host") or ""
    nccl = _NCCL.match(message)
    if nccl and _NCCL_WORDS.search(message, nccl.end()):
        return Speaker.LIBRARY, nccl["host"]
    # Apptainer's levels are not part of the message.
    return Speaker.CONTAINER if _APPTAINER.match(text.lstrip()) else Speaker.PROGRAM, ""


_FRONTS = (
    (_TASK, Speaker.LAUNCHER),
    (_NAMED_BY_SRUN, Speaker.LAUNCHER),
    (_COMMAND, Speaker.LAUNCHER),
    (_HYDRA, Speaker.LAUNCHER),
    (_AGENT, Speaker.LAUNCHER),
    (_CONTAINER, Speaker.CONTAINER),
    (_UCX, Speaker.LIBRARY),
    (_DMESG, Speaker.KERNEL),
    (_LIBRARY, Speaker.LIBRARY),
    (_SHELL, Speaker.SHELL),
)
"""Fronts of lines with their speakers; the first that matches applies."""
