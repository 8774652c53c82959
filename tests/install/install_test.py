#!/usr/bin/env python3
"""Installs a build, moves it elsewhere, and there lets a project of its own find, compile, link and run with it.

install_test.py SOURCE BUILD COMPILER
"""
import pathlib
import re
import subprocess
import sys
import tempfile


PROJECT = """cmake_minimum_required(VERSION 3.25)
project(Rest LANGUAGES CXX)
find_package(Fovea REQUIRED)
add_library(rest OBJECT rest.cpp)
target_link_libraries(rest PRIVATE Fovea::fovea)
"""

AROUND = """#include <math.h>

#include <span>
#include <vector>

#include <fovea/fovea.hpp>
using namespace fovea;

// What a program calls on its own numbers stays libm's.
double own(double x, float y) { return tanh(x) + tanh(y) + tanh(1) + exp(x) + exp(y) + log(x) + sqrt(x) + fmax(x, y) + round(x); }
double own_score(double x) { return fovea::tanh(x) + static_cast<double>(fovea::tanh(static_cast<float>(x))); }

void use(double weight, double lift, double local_effect);

using F32 = View<const float, 4>;
void rest(F32 q, F32 k, F32 v, F32 k_pool, F32 v_pool, F32 prompt_k, F32 prompt_v, F32 recent_k, F32 recent_v,
          const std::vector<int>& table, const std::vector<int>& tokens, const std::vector<float>& per_head) {
SHOWN}
"""


def run(*command):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"$ {' '.join(str(c) for c in command)}\n{result.stdout}{result.stderr}exit status {result.returncode}")
    return result.stdout


def main():
    source, build, compiler = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        installed, moved = pathlib.Path(folder) / "installed", pathlib.Path(folder) / "moved"
        run("cmake", "--install", build, "--prefix", installed)
        installed.rename(moved)

        examples = pathlib.Path(folder) / "examples"
        run("cmake", "-S", pathlib.Path(source) / "examples", "-B", examples, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={moved}",
            f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
        run("cmake", "--build", examples)

        # What the README shows after the first program: it compiles, with its neighbours' memory declared.
        shown = (pathlib.Path(source) / "README.md").read_text(encoding="utf-8").partition("```c++\n")[2].partition("```")[0]
        if "load(" not in shown or "merge(" not in shown:
            sys.exit("README.md has no ```c++ block of masks, scores, caches and models any more; this test compiles it")
        rest = pathlib.Path(folder) / "rest"
        rest.mkdir()
        (rest / "rest.cpp").write_text(AROUND.replace("SHOWN", shown), encoding="utf-8")
        (rest / "CMakeLists.txt").write_text(PROJECT, encoding="utf-8")
        run("cmake", "-S", rest, "-B", rest / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={moved}",
            f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror -Wno-unused-variable")
        run("cmake", "--build", rest / "build")

        said = run(examples / "first")
        print(said, end="")
        match = re.search(r"looks most at key (\d+), with ([0-9.]+) times an equal share", said)
        if not match or not 4095 - 1024 <= int(match[1]) <= 4095 or float(match[2]) < 2:
            sys.exit("the first program found no key that stands out within its window")
        print(run(moved / "bin" / "fovea", "--version"), end="")


if __name__ == "__main__":
    main()
