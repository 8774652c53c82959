#!/usr/bin/env python3
"""One misuse that must not compile, and its twin that must: compile_fail.py CASE.cpp COMPILER FLAGS…

Without -DMISUSE the case compiles; with it, the compiler must refuse and say every `// expect:` text of the case, so that it is
refused for the reason meant.
"""
import subprocess
import sys


def main():
    case, *compiler = sys.argv[1:]
    expected = [line.removeprefix("// expect:").strip() for line in open(case, encoding="utf-8") if line.startswith("// expect:")]
    command = compiler + ["-fsyntax-only", case]
    twin = subprocess.run(command, capture_output=True, text=True)
    if twin.returncode != 0:
        return f"the right use does not compile:\n{twin.stderr}"
    misuse = subprocess.run(command + ["-DMISUSE"], capture_output=True, text=True)
    if misuse.returncode == 0:
        return "the misuse compiles"
    missing = [text for text in expected if text not in misuse.stderr]
    if missing or not expected:
        return f"the misuse is refused without saying {missing or 'anything that is expected'}:\n{misuse.stderr}"
    print("refused:", *expected, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
