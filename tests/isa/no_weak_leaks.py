#!/usr/bin/env python3
"""Fails when an object built for one instruction set defines a symbol that another object may define too.

An inline function compiled with -mavx512f and one compiled without it have the same name; the linker keeps either, and a machine
without AVX-512 may be given the first. So such an object may export its own namespace and its table, nothing else.

no_weak_leaks.py NM NAMESPACE TABLE OBJECT
no_weak_leaks.py --self-test NM COMPILER   compiles one leak of each kind, and expects each to be found
"""
import pathlib
import re
import subprocess
import sys
import tempfile


def defined_symbols(nm, path):
    command = [nm, "--defined-only", "--format=posix", "--demangle", str(path)]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        if match := re.fullmatch(r"(.*) ([A-Za-z]) [0-9a-f]+( [0-9a-f]+)?", line):  # name, kind, value, size
            yield match[1], match[2]


def leaks(nm, namespace, table, path):
    """Symbols that the linker may merge with those of other objects. nm's small letters are local, u is unique, w and v weak."""
    for name, kind in defined_symbols(nm, path):
        merged = kind.isupper() or kind in "uwv"
        if name.startswith("DW.ref."):  # the compiler's pointer to its exception handler: data, alike everywhere
            continue
        if merged and f"fovea::{namespace}::" not in name and name != f"fovea::{table}":
            yield f"{kind} {name}"


def check(nm, namespace, table, path):
    found = list(leaks(nm, namespace, table, path))
    if all(name != f"fovea::{table}" for name, _ in defined_symbols(nm, path)):
        found.append(f"fovea::{table} is not defined here: is this the right object?")
    return found


def self_test(nm, compiler):
    sound = """
      namespace fovea { struct Table { int (*f)(int); }; extern const Table kTable;
      namespace avx2 { template <class T> T twice(T x) { return x + x; } inline int own(int x) { static int n; return n += twice(x); } }
      static int hidden(int x) { return avx2::own(x); }
      const Table kTable{hidden}; }
    """
    planted = {
        "a shared inline function": "namespace fovea { inline int shared(int x) { return x; } int (*avx2_use)(int) = shared; }",
        "a library's template": "#include <vector>\nnamespace fovea::avx2 { int size(std::vector<int>& v) { v.push_back(1); return 0; } }",
        "a global function": "int helper(int x) { return x; }",
        "an inline variable": "namespace fovea { inline int shared = 1; namespace avx2 { int* use() { return &shared; } } }",
        "a vtable": "namespace fovea { struct Base { virtual ~Base() = default; }; namespace avx2 { Base* make() { return new Base; } } }",
        "another instruction set": "namespace fovea::avx512 { int f(int x) { return x; } }",
    }
    missed = 0
    for what, code in ({"nothing": ""} | planted).items():
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder) / "a.cpp", pathlib.Path(folder) / "a.o"
            source.write_text(sound + code, encoding="utf-8")
            subprocess.run([compiler, "-std=c++20", "-O0", "-c", source, "-o", target], check=True)
            found = check(nm, "avx2", "kTable", target)
            if bool(found) != bool(code):
                missed += 1
                print(f"MISSED {what}: found {found}")
    print(f"{len(planted)} leaks planted, {missed} missed")
    return missed


def main():
    if sys.argv[1] == "--self-test":
        return 1 if self_test(*sys.argv[2:]) else 0
    found = check(*sys.argv[1:])
    print("\n".join(found) or f"{sys.argv[4]}: nothing leaks out of fovea::{sys.argv[2]}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
