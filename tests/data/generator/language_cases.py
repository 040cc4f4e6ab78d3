"""Programs in other languages than Python: how each reports its failures."""

from typing import Any

from tests.data.generator.case import Case


def fortran(name: str, category: str, root: str | None, **more: Any) -> Case:
    options, how = more.pop("options", ""), more.pop("how", name)
    script = f"gfortran -w {options} -o solver solver.f90\n./solver {how}"
    return Case(f"fortran.{name}", category, script, root, needs=("gfortran",), **more)


def r(name: str, category: str, root: str | None, **more: Any) -> Case:
    script = f"Rscript analysis.R {name}"
    return Case(f"r.{name}", category, script, root, needs=("R",), **more)


def octave(name: str, category: str, root: str | None, **more: Any) -> Case:
    script = f"octave-cli --quiet analysis.m {name}"
    return Case(f"octave.{name}", category, script, root, needs=("octave",), **more)


def java(name: str, category: str, root: str | None, **more: Any) -> Case:
    options = more.pop("options", "-Xmx64m")
    script = f"javac Service.java\njava {options} Service {name}"
    return Case(f"java.{name}", category, script, root, needs=("java",), **more)


def node(name: str, category: str, root: str | None, **more: Any) -> Case:
    options = more.pop("options", "")
    script = f"node {options}tool.js {name}"
    return Case(f"node.{name}", category, script, root, needs=("node",), **more)


def perl(name: str, category: str, root: str | None, **more: Any) -> Case:
    return Case(f"perl.{name}", category, f"perl tool.pl {name}", root, needs=("perl",), **more)


def cpp(name: str, category: str, root: str | None, **more: Any) -> Case:
    options, how = more.pop("options", ""), more.pop("how", name)
    before, after = more.pop("before", ""), more.pop("after", "")
    build = f"g++ -O0 -g -w {options} -o solver native_more.cc"
    script = f"{build}\n{before}./solver {how}{after}"
    return Case(f"cpp.{name}", category, script, root, needs=("gcc",), **more)


FORTRAN = (
    fortran("error_stop", "config", "^ERROR STOP solver: number", also=("code",)),
    fortran("stop_text", "config", "ERROR: unknown keyword", also=("code",)),
    fortran("stop_number", "unknown", "^STOP 3"),
    fortran("normal", "completed", None),
    fortran("no_file", "config", "Fortran runtime error|^Error: Cannot open file"),
    fortran("bad_namelist", "config", "Cannot match namelist object"),
    fortran("bad_number", "config", "Bad integer for item 1"),
    fortran("short_file", "data.corrupt", "End of file"),
    fortran("bounds", "code", "above upper bound", options="-fcheck=bounds"),
    fortran(
        "floating",
        "numeric.nan",
        "SIGFPE",
        options="-ffpe-trap=invalid,zero,overflow",
        also=("software.crash",),
    ),
    fortran("allocate", "oom_host", "Error allocating|not enough memory|exceed memory limit"),
    fortran("deallocate", "code", "Attempt to DEALLOCATE"),
    fortran("allocated_twice", "code", "Attempting to allocate already allocated"),
    fortran("disk_full", "storage.full", "No space left", place="small_disk"),
    fortran("format", "code", "Expected INTEGER for item 1", also=("config",)),
    fortran("abort", "software.crash", "SIGABRT|Aborted"),
)

R = (
    r("stop", "config", "invalid value of 'method'", also=("code",)),
    r("object", "code", "object 'learning_rate' not found"),
    r("package", "code", "there is no package called", also=("config",)),
    r("file", "config", "cannot open (the connection|file)", also_root="cannot open"),
    r("subscript", "code", "subscript out of bounds"),
    r("parse", "code", "unexpected symbol"),
    r("memory", "oom_host", "cannot allocate vector|vector is too large|memory"),
    r("quit", "unknown", None),
    r("condition", "code", "all weights must be positive", also=("config",)),
    r("nan", "numeric.nan", "NA/NaN/Inf in"),
    r("conform", "code", "non-conformable arguments"),
    r("corrupt", "data.corrupt", "unknown input format", also=("checkpoint.corrupt",)),
    r("caught", "completed", None),
    r("argument", "code", 'argument "x" is missing'),
    r("segfault", "software.crash", "caught segfault|Segmentation fault"),
    r("type", "code", "non-numeric argument to binary operator"),
)

OTHERS = (
    octave("name", "code", "'stepsize' undefined"),
    octave("error", "config", "^error: solver: unknown method", also=("code",)),
    octave("shape", "code", "nonconformant arguments"),
    octave("file", "config", "unable to find file"),
    octave("memory", "oom_host", "out of memory"),
    octave("index", "code", "out of bound"),
    octave("exit", "unknown", None),
    java("null", "code", "NullPointerException"),
    java("file", "config", "FileNotFoundException"),
    java("heap", "oom_host", "java.lang.OutOfMemoryError"),
    java("index", "code", "ArrayIndexOutOfBoundsException"),
    java("stack", "code", "StackOverflowError", also=("software.crash",)),
    java("refused", "dependency.service", "Connection refused", also=("network.rendezvous",)),
    java("host", "dependency.service", "UnknownHostException"),
    java("class", "code", "ClassNotFoundException", also=("config",)),
    java("number", "code", "NumberFormatException", also=("config",)),
    java("exit", "unknown", None),
    java("thrown", "config", "unknown option: --partitons", also=("code",)),
    java("option", "config", "Unrecognized VM option|Unrecognized option", options="-XX:Heaap=3"),
    Case(
        "java.main_class",
        "config",
        "java org.example.Trainer",
        "Could not find or load main class",
        also=("code",),
        needs=("java",),
    ),
    node("module", "code", "Cannot find module 'left-padding'", also=("config",)),
    node("type", "code", "^TypeError"),
    node("file", "config", "ENOENT: no such file", also_root="ENOENT: no such file"),
    node("json", "config", "^SyntaxError", also=("code", "data.corrupt")),
    node("heap", "oom_host", "heap out of memory", options="--max-old-space-size=30 "),
    node("exit", "unknown", None),
    node(
        "refused",
        "dependency.service",
        "ECONNREFUSED",
        also_root="ECONNREFUSED",
        also=("network.rendezvous",),
    ),
    node("host", "dependency.service", "ENOTFOUND", also_root="ENOTFOUND"),
    node("rejected", "config", "unknown option --ouput", also=("code",)),
    node("name", "code", "^ReferenceError"),
    perl("die", "config", "unknown option --ouput", also=("code",)),
    perl("file", "config", "cannot open conf/list.txt"),
    perl("module", "code", "Can't locate Bio/SeqIO/Fast.pm", also=("config",)),
    perl("method", "code", "Can't call method"),
    perl("exit", "unknown", None),
    perl("full", "storage.full", "No space left", place="small_disk"),
)

NATIVE = (
    cpp("assertion", "code", "Assertion .* failed", also=("software.crash",)),
    cpp(
        "range",
        "software.crash",
        "terminate called|vector::_M_range_check",
        also=("code",),
        also_root="out_of_range|_M_range_check",
    ),
    cpp("memory", "oom_host", "bad_alloc|length_error", also_root="bad_alloc"),
    cpp(
        "key", "software.crash", "terminate called", also=("code", "config"), also_root="what\\(\\)"
    ),
    cpp(
        "number",
        "software.crash",
        "terminate called",
        also=("code", "config"),
        also_root="what\\(\\)",
    ),
    cpp(
        "logic",
        "config",
        "unknown option --solvr",
        also=("code",),
        also_root="terminate called",
    ),
    cpp("exit", "unknown", None),
    cpp("input", "config", "cannot open input file"),
    cpp("done", "completed", None),
    cpp(
        "overflow",
        "software.crash",
        "AddressSanitizer: heap-buffer-overflow",
        options="-fsanitize=address",
        also=("code",),
        also_root="SUMMARY: AddressSanitizer",
    ),
    cpp("fatal_abort", "config", "FATAL ERROR: keyword", also=("code",)),
    Case(
        "cpp.no_library",
        "config",
        "echo 'int f() { return 0; }' >f.c; echo 'int f(); int main() { return f(); }' >main.c\n"
        "gcc -shared -fPIC -o libmesh.so f.c && gcc -o solver main.c -L. -lmesh -Wl,-rpath,.\n"
        "rm libmesh.so\n./solver",
        "error while loading shared libraries",
        needs=("gcc",),
    ),
    Case(
        "cpp.no_symbol",
        "config",
        "echo 'int f() { return 0; }' >f.c; echo 'int f(); int main() { return f(); }' >main.c\n"
        "gcc -shared -fPIC -o libmesh.so f.c && gcc -o solver main.c -L. -lmesh -Wl,-rpath,.\n"
        "echo 'int g() { return 0; }' >f.c; gcc -shared -fPIC -o libmesh.so f.c\n./solver",
        "symbol lookup error",
        needs=("gcc",),
        also=("code",),
    ),
)

BUILD = (
    Case(
        "build.no_header",
        "compile",
        "printf '#include <cutlass/gemm.h>\\nint main() {}\\n' >k.cc\ng++ -c k.cc || exit\n./k",
        "fatal error: cutlass/gemm.h",
        needs=("gcc",),
        also=("config",),
    ),
    Case(
        "build.undefined",
        "compile",
        "printf 'int gemm(); int main() { return gemm(); }\\n' >k.c\ngcc -o k k.c || exit\n./k",
        "undefined reference to",
        needs=("gcc",),
        also=("code",),
    ),
    Case(
        "build.type",
        "compile",
        "printf 'int main() { int x = \"four\" * 3; }\\n' >k.c\ngcc -o k k.c || exit\n./k",
        "error: invalid operands",
        needs=("gcc",),
        also=("code",),
    ),
    Case(
        "build.no_rule",
        "compile",
        "printf 'all: kernel.o\\n' >Makefile\nmake || exit\n./solver",
        "No rule to make target",
        needs=("make",),
        also=("config",),
    ),
    Case(
        "build.recipe",
        "compile",
        "printf 'int main() { return x; }\\n' >k.c\n"
        "printf 'k: k.c\\n\\tgcc -o k k.c\\n' >Makefile\n"
        "make || exit\n./k",
        "error: .x. undeclared",
        needs=("make", "gcc"),
        also=("code",),
    ),
    Case(
        "build.fortran",
        "compile",
        "printf 'program a\\n implicit none\\n x = 3\\nend program\\n' >a.f90\n"
        "gfortran a.f90 || exit\n./a.out",
        "Error: Symbol .x. .*has no IMPLICIT type",
        needs=("gfortran",),
        also=("code",),
    ),
    Case(
        "build.java",
        "compile",
        "printf 'class A { int f() { return \"x\"; } }\\n' >A.java\njavac A.java || exit\njava A",
        "error: incompatible types",
        needs=("java",),
        also=("code",),
    ),
)

CASES = (*FORTRAN, *R, *OTHERS, *NATIVE, *BUILD)
