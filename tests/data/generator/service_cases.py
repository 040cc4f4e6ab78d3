"""Credentials that are refused, and services that are not there."""

from tests.data.generator.case import Case
from tests.data.generator.rows import python

CASES = (
    python(
        "auth.401", "auth", "service.py ask", "^urllib.error.HTTPError: HTTP Error 401", answers=401
    ),
    python(
        "auth.403", "auth", "service.py ask", "^urllib.error.HTTPError: HTTP Error 403", answers=403
    ),
    python(
        "auth.hub_gated",
        "auth",
        "service.py hub",
        "errors.GatedRepoError",
        also_root="HTTPError: 401",
        answers=401,
        needs=("huggingface_hub",),
    ),
    Case(
        "auth.git",
        "auth",
        "GIT_TERMINAL_PROMPT=0 python service.py clone",
        "^fatal: could not read Username",
        answers=401,
        needs=("git",),
    ),
    Case(
        "auth.ssh_host_key",
        "auth",
        "set -e\nssh -o BatchMode=yes -o UserKnownHostsFile=/dev/null -p $SSHD_PORT 127.0.0.1 true",
        "Host key verification failed",
        needs=("sshd",),
    ),
    Case(
        "auth.ssh_key",
        "auth",
        "set -e\nssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        " -p $SSHD_PORT 127.0.0.1 true",
        "Permission denied \\(publickey",
        needs=("sshd",),
    ),
    python("auth.file", "auth", "files.py protected", "^PermissionError", place="other_user"),
    python(
        "auth.not_executable",
        "auth",
        "files.py not_executable",
        "^PermissionError",
        also=("config", "code"),
    ),
    python(
        "config.hub_404",
        "config",
        "service.py hub",
        "errors.RepositoryNotFoundError",
        also_root="HTTPError: 404",
        answers=404,
        needs=("huggingface_hub",),
        also=("auth",),
    ),
    python(
        "config.hub_offline",
        "config",
        "service.py offline",
        "^OSError: We couldn't connect",
        also_root="errors.LocalEntryNotFoundError|errors.OfflineModeIsEnabled",
        needs=("transformers",),
        also=("dependency.service",),
    ),
    python(
        "service.503",
        "dependency.service",
        "service.py ask",
        "^urllib.error.HTTPError: HTTP Error 503",
        answers=503,
    ),
    python(
        "service.503_requests",
        "dependency.service",
        "service.py ask_requests",
        "^requests.exceptions.HTTPError: 503",
        answers=503,
        needs=("requests",),
    ),
    python(
        "service.429",
        "dependency.service",
        "service.py ask",
        "^urllib.error.HTTPError: HTTP Error 429",
        answers=429,
    ),
    python(
        "service.refused",
        "dependency.service",
        "service.py refused",
        "^ConnectionRefusedError",
    ),
    python(
        "service.refused_requests",
        "dependency.service",
        "service.py refused_requests",
        "^ConnectionRefusedError",
        also_root="Connection refused",
        needs=("requests",),
    ),
    python(
        "service.refused_grpc",
        "dependency.service",
        "service.py refused_grpc",
        "StatusCode.UNAVAILABLE|InactiveRpcError",
        also=("network.fabric",),
        also_root="StatusCode.UNAVAILABLE|InactiveRpcError|failed to connect to all addresses",
        needs=("grpc",),
    ),
    python(
        "service.no_such_host",
        "dependency.service",
        "service.py no_such_host",
        "^socket.gaierror",
    ),
    python(
        "service.slow",
        "dependency.service",
        "service.py slow",
        "^TimeoutError",
        also=("unknown", "network.fabric"),
        answers=200,
    ),
    python(
        "service.cut_off",
        "dependency.service",
        "service.py cut_off",
        "^http.client.IncompleteRead",
        answers=200,
    ),
)
