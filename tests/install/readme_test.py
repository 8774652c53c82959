#!/usr/bin/env python3
"""The first program that the README shows is examples/first.cpp, which the install test compiles and runs. readme_test.py SOURCE"""
import pathlib
import sys


def main():
    source = pathlib.Path(sys.argv[1])
    readme = (source / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("```cpp\n")[2].partition("```")[0]
    if shown != (source / "examples" / "first.cpp").read_text(encoding="utf-8"):
        sys.exit("the first ```cpp block of README.md is not examples/first.cpp, letter for letter; copy the one into the other")


if __name__ == "__main__":
    main()
