#!/usr/bin/env python3
"""Installs a build, moves it elsewhere, and there lets a project of its own find, compile, link and run with it.

install_test.py SOURCE BUILD COMPILER
"""
import pathlib
import re
import subprocess
import sys
import tempfile


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

        said = run(examples / "first")
        print(said, end="")
        match = re.search(r"looks most at key (\d+), with ([0-9.]+) times an equal share", said)
        if not match or not 4095 - 1024 <= int(match[1]) <= 4095 or float(match[2]) < 2:
            sys.exit("the first program found no key that stands out within its window")
        print(run(moved / "bin" / "fovea", "--version"), end="")


if __name__ == "__main__":
    main()
