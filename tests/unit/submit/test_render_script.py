import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slurm_restart.submit.render_script import (
    TEMPLATE,
    TemplateError,
    quote,
    render,
    syntax_problem,
)

# What the kernel can pass as an argument: no NUL, and no lone surrogates.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NASTY = [
    "a b",
    "it's",
    'say "x"',
    "a\nb",
    "\n",
    "a\r\nb\r",
    "$(touch pwned)",
    "`touch pwned`",
    "${HOME}",
    "ü €",
    "-rf",
    "",
    "a\\",
    "*",
    "~",
    "!x",
    "'\n#SBATCH --array=1-9\n'",
    "'; touch pwned; '",
    "{{ 1 }}",
    "{% raw %}",
    "\x1b[31m\x7f\t",
    "\u2028",
]
STUB = "import json, os, sys; print(json.dumps([os.fsencode(a).hex() for a in sys.argv[1:]]))"


def script_for(*texts):
    return render(supervisor=(sys.executable, "-I", "-c", STUB, *texts))


def check(directory: Path, text: str):
    script = directory / "job.sh"
    script.write_bytes(os.fsencode(script_for(text, "run", text)))
    assert b"\r\n" not in script.read_bytes(), "sbatch takes it for a file from DOS"
    for shell in ("/bin/sh", "/bin/bash"):
        subprocess.run([shell, "-n", script], check=True, capture_output=True)
        done = subprocess.run(
            [shell, script], check=True, capture_output=True, cwd=directory, env={"PATH": ""}
        )
        assert json.loads(done.stdout) == [t.encode().hex() for t in (text, "run", text)]
        assert done.stderr == b""
    assert sorted(path.name for path in directory.iterdir()) == ["job.sh"]


@pytest.mark.parametrize("text", NASTY)
def test_nasty_text_comes_out_as_one_argument(tmp_path, text):
    check(tmp_path, text)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("scripts")


@settings(max_examples=80)
@given(text=TEXT)
@example(text="'\r\n'")
def test_any_text_comes_out_as_one_argument(directory, text):
    check(directory, text)


def sbatch_lines(script: str):
    """The #SBATCH lines that sbatch sees: up to the first line that is no comment and not blank."""
    lines = []
    for line in script.split("\n"):
        if line.startswith("#SBATCH"):
            lines.append(line)
        elif line.strip() and not line.startswith("#"):
            break
    return lines


@given(st.lists(TEXT | st.just("#SBATCH --array=1-9")), TEXT)
def test_no_sbatch_line_can_be_smuggled_in(setup, text):
    lines = [line for part in setup for line in (part.splitlines() or [""])]
    assert sbatch_lines(render(supervisor=("/x", text), setup=lines)) == []


def test_setup_lines_stand_as_they_are_before_the_supervisor():
    script = render(supervisor=("/x", "a b"), setup=["module load x", 'export A="$(echo b c)"'])
    body = script.split("\n:\n")[1]
    assert (
        body
        == """{
module load x
export A="$(echo b c)"
}
exec /x 'a b'
"""
    )


def test_the_setup_reaches_the_supervisor(tmp_path):
    show = "import os; print(os.environ['A'], os.getcwd())"
    script = render(
        supervisor=(sys.executable, "-I", "-c", show), setup=["A='b c'", "export A", "cd /"]
    )
    done = subprocess.run(
        ["/bin/bash"], input=script, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "b c /\n"


@pytest.mark.parametrize(
    ("setup", "problem"),
    [
        (["echo ok", "export A='b c'", "# it's fine", "if true; then", "  :", "fi"], None),
        (["foo 'bar"], "line 1: unexpected EOF"),
        (["ok", "foo \\"], "unexpected end of file"),
        (["false &&"], "line 2: syntax error near unexpected token `}'"),
        (["cat <<EOF", "x"], "here-document"),
        (["}", "exit 0", "{"], "line 1: syntax error near unexpected token `}'"),
        ([")"], "line 1: syntax error near unexpected token `)'"),
    ],
)
def test_setup_that_would_swallow_the_supervisor_is_found(setup, problem):
    found = syntax_problem(setup)
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert problem in found


@pytest.mark.parametrize("text", NASTY)
def test_quoted_text_is_one_word(text):
    done = subprocess.run(
        ["/bin/sh", "-c", f"for word in {quote(text)}; do printf '<%s>' \"$word\"; done"],
        check=True,
        capture_output=True,
    )
    assert done.stdout == f"<{text}>".encode()


def template(tmp_path, text):
    (tmp_path / TEMPLATE).write_text(text)
    return [tmp_path]


def test_a_template_cannot_put_out_raw_text_by_accident(tmp_path):
    directories = template(
        tmp_path,
        "{{ supervisor[1] }} {{ supervisor[1] | safe }} {{ supervisor | join(';') }} "
        "{{ supervisor[1] ~ 'x' }} {{ 7 }} {% for word in supervisor %}{{ word }} {% endfor %}",
    )
    assert render(supervisor=("/x", "a;b"), directories=directories) == (
        "'a;b' 'a;b' '/x;a;b' 'a;bx' 7 /x 'a;b' "
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{% if %}", "Expected an expression"),
        ("{{ none }}", "no word for a shell: None"),
        ("{{ true }}", "no word for a shell: True"),
        ("{{ {'a': 1} }}", "no word for a shell: {'a': 1}"),
    ],
)
def test_a_template_that_does_not_fit_is_refused(tmp_path, text, problem):
    with pytest.raises(TemplateError) as caught:
        render(supervisor=("/x",), directories=template(tmp_path, text))
    assert problem in str(caught.value)


def test_a_missing_template_is_reported():
    with pytest.raises(TemplateError, match=r"sbatch\.sh\.j2: not found in /nowhere"):
        render(supervisor=("/x",), directories=[Path("/nowhere")])


# --- where the shell outlives the supervisor -----------------------------------------------------

SUPERVISOR = """
import os, signal, sys, time
def waits():
    status = open(f"/proc/{os.getppid()}/status").read()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return fields["State"].split()[0] == "S", int(fields["voluntary_ctxt_switches"])
def tell():
    # Until the shell waits again: of a process that ends before, bash may lose the exit code.
    while not waits()[0]:
        pass
    before = waits()[1]
    os.kill(os.getppid(), signal.SIGWINCH)
    while not (waits()[0] and waits()[1] > before):
        pass
if "--settle" in sys.argv:
    print("settles", sys.argv[-1])
    sys.exit(0 if "finished" in sys.argv[1] else int(sys.argv[-1]))
print("runs", sys.stdin.readline().strip(), flush=True)
exec(sys.argv[1])
"""


def run_kept(code):
    """Run the batch script of a supervisor that executes `code`; the exit code and the output."""
    script = render(supervisor=(sys.executable, "-c", SUPERVISOR, code), keep_shell=True)
    process = subprocess.Popen(
        ["/bin/bash", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    process.stdin.write("input\n")
    process.stdin.flush()
    head = process.stdout.readline()
    out, _ = process.communicate(timeout=120)
    return process.returncode, (head + out).splitlines()


TELL = "os.kill(os.getppid(), signal.SIGWINCH); "
TELL_SUCCESS = "os.kill(os.getppid(), signal.SIGURG); "


@pytest.mark.parametrize(
    ("code", "exit_code", "settles"),
    [
        ("tell(); sys.exit(3)", 3, False),
        (f"{TELL_SUCCESS}sys.exit(0)", 0, False),
        ("tell(); sys.exit(127)", 127, False),
        ("tell(); sys.exit(255)", 255, False),
        ("sys.exit(3)", 3, True),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, True),
    ],
)
def test_the_shell_settles_what_a_supervisor_has_left(code, exit_code, settles):
    lines = ["runs input", *([f"settles {exit_code}"] if settles else [])]
    assert run_kept(code) == (exit_code, lines)


def test_the_job_of_a_run_that_had_finished_succeeds():
    code = "os.kill(os.getpid(), signal.SIGKILL)  # finished"
    assert run_kept(code) == (0, ["runs input", "settles 137"])


@pytest.mark.parametrize(("tell", "code"), [(TELL_SUCCESS, 0), (TELL, 7)])
def test_an_exit_code_that_bash_loses_is_known_to_be_0_or_not(tell, code):
    for _ in range(10):
        exit_code, lines = run_kept(f"{tell}os._exit({code})")
        assert exit_code in ({0} if code == 0 else {1, 7})
        assert lines == ["runs input"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGHUP"])
def test_signals_to_the_shell_reach_the_supervisor(name):
    wait = (
        "end = lambda *_: (print('told'), tell(), sys.exit(5)); "
        f"signal.signal(signal.{name}, end); "
        "print('ready', flush=True); time.sleep(600)"
    )
    script = render(supervisor=(sys.executable, "-c", SUPERVISOR, wait), keep_shell=True)
    process = subprocess.Popen(
        ["/bin/bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    while process.stdout.readline() != "ready\n":
        pass
    process.send_signal(getattr(signal, name))
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, out) == (5, "told\n")
