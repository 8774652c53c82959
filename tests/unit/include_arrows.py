#!/usr/bin/env python3
"""Holds every #include to the arrows of ARCHITECTURE.md: a folder may include itself and what is below it, nothing else.

include_arrows.py ROOT        checks a tree; exit status 1 when an include goes against the arrows, with one line for each
include_arrows.py --self-test plants one wrong include after another in a tree of its own, and expects each to be found
"""
import pathlib
import re
import sys
import tempfile

# layer → the layers right below it; what those stand on comes along.
BELOW = {
    "error": [],
    "core": ["error"],
    "spec": ["error"],
    "kernels": ["core", "spec"],
    "ops": ["kernels"],
    "nn": ["ops"],
    "io": ["core"],
    "models": ["nn", "io"],
    "runtime": ["models"],
    "demo": ["io"],
    "look": ["runtime", "kernels"],
    "train": ["look", "demo"],
    "apps": ["train"],
}
PUBLIC = {
    "error": ["error"],
    "core": ["dtype", "tensor", "paged", "cpu", "threads"],
    "spec": ["tile", "band", "mask", "mask_algebra", "dual", "score", "score_parameter"],
    "ops": ["attention", "merge", "trace"],
    "look": ["look", "model", "fovea"],
}
LAYER_OF_PUBLIC = {f"fovea/{name}.hpp": layer for layer, names in PUBLIC.items() for name in names}

# What is compiled once per instruction set may hold no inline function that other files have too: the linker would keep one of
# them, perhaps with instructions that the machine lacks (no_weak_leaks looks at the outcome, this at the cause).
PER_ISA = ("src/kernels/isa/", "src/kernels/simd/", "src/kernels/generic/")
FREESTANDING = {"cstdint", "cstddef", "immintrin.h", "xmmintrin.h", "fovea/tile.hpp", "fovea/dtype.hpp"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(<[^>]+>|"[^"]+")')
SOURCES = {".cpp", ".hpp", ".h"}


def reachable(layer):
    found = {layer}
    for below in BELOW[layer]:
        found |= reachable(below)
    return found


def includes(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if match := INCLUDE.match(line):
            yield number, match[1][1:-1], match[1][0] == '"'


def is_standard(name):
    return re.fullmatch(r"[a-z_0-9]+", name) is not None


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.complaints = []

    def files(self, folder):
        return sorted(p for p in (self.root / folder).rglob("*") if p.suffix in SOURCES)

    def name(self, path):
        return path.relative_to(self.root).as_posix()

    def layer_of(self, name):
        """The layer of a file of this tree, by its path from the root; None when it has none."""
        parts = name.split("/")
        if parts[0] == "include":
            return LAYER_OF_PUBLIC.get(name.removeprefix("include/"))
        if parts[0] == "src":
            return parts[1] if parts[1] in BELOW and parts[1] not in ("apps", "demo") else None
        return parts[0] if parts[0] in ("apps", "demo") else None

    def resolve(self, path, name, quoted):
        """An included name as a path from the root; None when it is no file of this project."""
        candidates = [self.root / "include" / name]
        if quoted:
            candidates = [path.parent / name, self.root / "src" / name, self.root / name] + candidates
        for candidate in candidates:
            if candidate.is_file():
                return candidate.resolve().relative_to(self.root.resolve()).as_posix()
        return None

    def check(self):
        files = [p for folder in ("src", "include", "demo", "apps") for p in self.files(folder)]
        for path in files:
            layer = self.layer_of(self.name(path))
            if layer is None:
                self.complain(path, 0, "belongs to no layer; give its folder or header a place in include_arrows.py")
                continue
            for line, name, quoted in includes(path):
                self.check_include(path, layer, line, name, quoted)
        for path in self.files("examples"):
            for line, name, quoted in includes(path):
                if quoted:
                    self.complain(path, line, f'"{name}": an example includes what is installed: <fovea/…> alone')
        self.check_freestanding(files)
        return len(files)

    def check_include(self, path, layer, line, name, quoted):
        target = self.resolve(path, name, quoted)
        public = self.name(path).startswith("include/")
        if target is None:
            if quoted or name.startswith("fovea/"):
                self.complain(path, line, f"{name} is no file of this project")
            elif (public or layer == "spec") and not is_standard(name):
                who = "a public header" if public else "spec"
                self.complain(path, line, f"<{name}>: {who} includes the standard library and Fovea's own headers alone")
            return
        if public and not target.startswith("include/"):
            self.complain(path, line, f"{target}: a public header cannot include what is not installed")
        below = self.layer_of(target)
        if below is not None and below not in reachable(layer):
            self.complain(path, line, f"{target}: {layer} may not include {below}; it stands on {self.below(layer)}")

    def check_freestanding(self, files):
        """The sources built per instruction set, and every header of kernels/ that they reach."""
        waiting = [p for p in files if self.name(p).startswith(PER_ISA)]
        seen = set(waiting)
        while waiting:
            path = waiting.pop()
            for line, name, quoted in includes(path):
                target = self.resolve(path, name, quoted)
                if target is not None and target.startswith("src/kernels/"):
                    if (header := self.root / target) not in seen:
                        seen.add(header)
                        waiting.append(header)
                elif name not in FREESTANDING:
                    self.complain(path, line, f"{name}: what is built per instruction set includes kernels/ and "
                                  f"{', '.join(sorted(FREESTANDING))} alone")

    @staticmethod
    def below(layer):
        return ", ".join(sorted(reachable(layer) - {layer})) or "nothing"

    def complain(self, path, line, text):
        self.complaints.append(f"{self.name(path)}:{line}: {text}")


def check(root):
    tree = Tree(root)
    return tree.check(), tree.complaints


def self_test():
    sound = {
        "include/fovea/tile.hpp": "#include <cstdint>",
        "include/fovea/tensor.hpp": "#include <vector>",
        "include/fovea/attention.hpp": "#include <fovea/tile.hpp>\n#include <fovea/tensor.hpp>",
        "src/core/tensor.cpp": "#include <fmt/format.h>\n#include <fovea/tensor.hpp>",
        "src/kernels/table.hpp": "#include <cstddef>",
        "src/kernels/registry.hpp": "#include <string>",
        "src/kernels/isa/avx2.cpp": '#include <immintrin.h>\n#include "kernels/table.hpp"',
        "src/models/bert.hpp": '#include "nn/linear.hpp"',
        "src/nn/linear.hpp": "#include <fovea/attention.hpp>",
        "src/io/json.hpp": "#include <string>",
        "demo/lexicon.cpp": '#include "io/json.hpp"\n#include "demo/lexicon.hpp"',
        "demo/lexicon.hpp": "#include <string>",
        "apps/cli/train.cpp": '#include "demo/lexicon.hpp"',
        "apps/cli/main.cpp": '#include "flags.hpp"\n#include "models/bert.hpp"',
        "apps/cli/flags.hpp": "#include <CLI/CLI.hpp>",
        "examples/first.cpp": "#include <fovea/attention.hpp>",
    }
    planted = [  # a file, what is added to it, what the complaint must say
        ("src/core/tensor.cpp", '#include "nn/linear.hpp"', "core may not include nn"),
        ("src/nn/linear.hpp", '#include "models/bert.hpp"', "nn may not include models"),
        ("src/nn/linear.hpp", '#include "../models/bert.hpp"', "nn may not include models"),
        ("src/nn/linear.hpp", '  #  include "models/bert.hpp"', "nn may not include models"),
        ("src/models/bert.hpp", '#include "../../apps/cli/flags.hpp"', "models may not include apps"),
        ("demo/lexicon.cpp", '#include "models/bert.hpp"', "demo may not include models"),
        ("src/models/bert.hpp", '#include "demo/lexicon.hpp"', "models may not include demo"),
        ("src/core/tensor.cpp", "#include <fovea/attention.hpp>", "core may not include ops"),
        ("include/fovea/tensor.hpp", "#include <fovea/tile.hpp>", "core may not include spec"),
        ("include/fovea/tensor.hpp", '#include "../../src/core/checked.hpp"', "is no file of this project"),
        ("include/fovea/attention.hpp", '#include "../../src/kernels/table.hpp"', "what is not installed"),
        ("include/fovea/attention.hpp", "#include <fmt/format.h>", "a public header includes the standard library"),
        ("include/fovea/tile.hpp", "#include <immintrin.h>", "a public header includes the standard library"),
        ("src/kernels/isa/avx2.cpp", "#include <vector>", "built per instruction set"),
        ("src/kernels/isa/avx2.cpp", "#include <fovea/tensor.hpp>", "built per instruction set"),
        ("src/kernels/isa/avx2.cpp", '#include "kernels/registry.hpp"', "registry.hpp:1: string: what is built"),
        ("src/kernels/table.hpp", "#include <algorithm>", "table.hpp:2: algorithm: what is built"),
        ("src/models/bert.hpp", '#include "nn/gone.hpp"', "is no file of this project"),
        ("src/models/bert.hpp", "#include <fovea/gone.hpp>", "is no file of this project"),
        ("src/spec/mask.cpp", "#include <fmt/format.h>", "spec includes the standard library"),
        ("src/attic/old.cpp", "", "belongs to no layer"),
        ("include/fovea/extra.hpp", "", "belongs to no layer"),
        ("examples/first.cpp", '#include "core/tensor.hpp"', "an example includes what is installed"),
    ]
    missed = 0
    for file, line, expected in [(None, "", None)] + planted:
        with tempfile.TemporaryDirectory() as root:
            for name, text in sound.items() | ({file: ""}.items() if file and file not in sound else set()):
                path = pathlib.Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text + (f"\n{line}" if name == file else "") + "\n", encoding="utf-8")
            complaints = check(root)[1]
            right = any(expected in c for c in complaints) if expected else not complaints
            if not right:
                missed += 1
                print(f"MISSED {file}: {line}: expected {expected!r}, found {complaints}")
    print(f"{len(planted)} wrong includes planted, {missed} missed")
    return missed


def main():
    if sys.argv[1:] == ["--self-test"]:
        return 1 if self_test() else 0
    count, complaints = check(sys.argv[1])
    print("\n".join(complaints))
    print(f"{count} files, {len(complaints)} includes against the arrows")
    return 1 if complaints or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
