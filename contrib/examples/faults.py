"""Failing on purpose, for demonstrations and tests; every other death comes from outside."""

import builtins
import os
import re
import signal
import sys
import time

from textmodel import Model

HELP = """\
environment, for demonstrations and tests:
  CSX_EXAMPLE_STEP_SECONDS=S    every step takes S seconds at least
  CSX_EXAMPLE_FAIL=WHAT@STEP[/validation][/rank=R][/restart=N][;…]
                                fail at a step, or in the validation after it, on rank R only, in
                                the Nth restart only (0: the first attempt). WHAT is one of
                                exit:CODE, signal:N, raise:CLASS (of Python's own exceptions), nan,
                                hang, print:TEXT, wait:FILE (until that file exists). Several are
                                separated by ;
"""
_FORM = re.compile(
    r"(?P<what>.+)@(?P<step>\d+)(?P<validation>/validation)?"
    r"(?:/rank=(?P<rank>\d+))?(?:/restart=(?P<restart>\d+))?"
)


def fail_on_purpose(step: int, rank: int, model: Model, *, validation: bool = False) -> None:
    """Do at this step, or in the validation after it, what CSX_EXAMPLE_FAIL asks for.

    Raises:
        ValueError: it asks for something else than HELP offers.
    """
    here = {"step": step, "rank": rank, "restart": int(os.environ.get("SLURM_RESTART_COUNT", "0"))}
    for wanted in filter(None, os.environ.get("CSX_EXAMPLE_FAIL", "").split(";")):
        form = _FORM.fullmatch(wanted)
        if form is None:
            raise ValueError(
                f"CSX_EXAMPLE_FAIL: expected WHAT@STEP[/validation][/rank=R], got {wanted!r}"
            )
        now = validation == (form["validation"] is not None)
        if now and all(form[name] in {None, str(value)} for name, value in here.items()):
            _fail(*form["what"].partition(":")[::2], model=model)


def _fail(kind: str, value: str, model: Model) -> None:
    match kind:
        case "print":
            print(value, file=sys.stderr, flush=True)
        case "exit":
            os._exit(int(value))
        case "signal":
            os.kill(os.getpid(), int(value))
        case "raise":
            raise getattr(builtins, value, RuntimeError)("failed on purpose")
        case "nan":
            model.flat[:] = float("nan")
        case "hang":
            while True:
                signal.pause()
        case "wait":
            while not os.path.exists(value):  # noqa: PTH110 - one program, few imports
                time.sleep(0.05)
        case _:
            raise ValueError(f"CSX_EXAMPLE_FAIL: unknown kind {kind!r}")
