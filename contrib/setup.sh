# Set-up that contrib/demo, contrib/test and contrib/bench share; they source it. On a fresh Debian
# machine it installs what is missing if it may, or says what is missing.
#
# Sets: top (the checkout that is used), venv, python (of the venv). Each Debian release (see
# contrib/devcluster --release) has a virtual environment of its own Python beside the machine's.

say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() { say "$*"; exit 3; }

# Jobs, slurmctld and the hook run as other users than root: all of them have to reach the code.
reachable() {
    [ "$(id -u)" -ne 0 ] && return 0
    setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$1/pyproject.toml" 2>/dev/null
}

# A checkout that others cannot read (below a home directory, in `mktemp -d`) is copied to where
# they can, and the program starts again there; the copy goes when it ends.
stage() { # PROGRAM ARGUMENTS…
    reachable "$top" && return 0
    copy=$(mktemp -d /var/tmp/slurm_restart.XXXXXX)
    trap 'rm -rf "$copy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    say "$top cannot be read by other users: using a copy in $copy"
    (cd "$top" && tar cf - --exclude=./.git --exclude=./.venv --exclude=./.venv-\* .) | (cd "$copy" && tar xf -)
    chmod -R go+rX "$copy"
    started=$1
    shift
    "$copy/contrib/$started" "$@"
    exit $?
}

need_packages() { # PROGRAM:PACKAGE…, beside those of a cluster
    need slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client munged:munge "$@"
}

need() { # PROGRAM:PACKAGE…, beside Python
    missing=
    for pair in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
    done
    base_python >/dev/null || missing="$missing python3 python3-venv"
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        die "missing Debian packages:$missing (as root: apt-get install$missing)"
    fi
    say "installing Debian packages:$missing"
    apt-get update -qq >&2 || die "apt-get update failed"
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing \
        >/dev/null || die "apt-get install$missing failed"
}

# The first Python from 3.11 that can make virtual environments and that other users can run.
base_python() {
    for candidate in /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3; do
        found=$(command -v "$candidate") || continue
        found=$(readlink -f "$found")
        "$found" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
            || continue
        [ "$(id -u)" -ne 0 ] \
            || setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$found" || continue
        printf '%s\n' "$found"
        return 0
    done
    return 1
}

make_venv() { # EXTRA
    venv="$top/.venv"
    [ ! -e /etc/slurm_restart-release ] || venv="$venv-$(cat /etc/slurm_restart-release)"
    python="$venv/bin/python"
    stamp="$venv/.installed-$1"
    if [ ! -e "$stamp" ] || [ -n "$(find "$top/pyproject.toml" -newer "$stamp")" ]; then
        say "making the virtual environment (once, about a minute)"
        rm -rf "$venv"
        "$(base_python)" -m venv "$venv" || die "no virtual environment"
        "$python" -m pip install -qq --disable-pip-version-check "$top[$1]" >&2 \
            || die "pip install failed"
        touch "$stamp"
    else
        # The package itself as it stands now; what it depends on is there.
        "$python" -m pip install -qq --disable-pip-version-check --no-deps --force-reinstall \
            "$top" >&2 || die "pip install failed"
    fi
}

# What the example jobs import, in an environment of its own; the wheels of PyTorch bring CUDA along.
make_trainers_venv() {
    trainers_venv="$top/.venv-trainers"
    [ ! -e "$trainers_venv/.installed" ] || return 0
    say "making .venv-trainers (once, some minutes and 7 GB)"
    rm -rf "$trainers_venv"
    "$(base_python)" -m venv "$trainers_venv" || die "no virtual environment"
    "$trainers_venv/bin/pip" install -qq --disable-pip-version-check \
        torch transformers accelerate lightning orbax-checkpoint jax >&2 || die "pip install failed"
    touch "$trainers_venv/.installed"
}
