"""How the cases of one process are written down: one function for each kind of program."""

from typing import Any

from tests.data.generator.case import Case


def program(name: str, category: str, function: str, root: str, **more: Any) -> Case:
    return Case(name, category, f"python program.py {function}", root, **more)


def torch(name: str, category: str, command: str, root: str | None, **more: Any) -> Case:
    needs = ("torch", *more.pop("needs", ()))
    return Case(name, category, f"python {command}", root, needs=needs, **more)


def python(name: str, category: str, command: str, root: str | None, **more: Any) -> Case:
    return Case(name, category, f"python {command}", root, **more)


SHIM = (
    "gcc -shared -fPIC -o faulty_disk.so faulty_disk.c -ldl\n"
    "export FAULT_PATH={path} FAULT_ERRNO={errno} FAULT_AFTER={after}\n"
    "LD_PRELOAD=$PWD/faulty_disk.so python {command}"
)


def disk(name: str, category: str, command: str, root: str, errno: int, **more: Any) -> Case:
    needs = ("gcc", *more.pop("needs", ()))
    path, after = more.pop("path", "checkpoints/"), more.pop("after", 200_000)
    script = more.pop("before", "") + SHIM.format(
        path=path, errno=errno, after=after, command=command
    )
    return Case(name, category, script, root, needs=needs, **more)


def native(name: str, program: str, root: str, **more: Any) -> Case:
    script = f"g++ -O0 -w -o {program} native.cc\npython crash.py native {program}"
    return Case(name, "software.crash", script, root, needs=("gcc",), **more)
