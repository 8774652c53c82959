#!/usr/bin/env python3
"""Tests of the offline page: page_test.py NAME --program FOVEA --long-bert PROGRAM --build FOLDER

types     the TypeScript sources pass the compiler
bundle    apps/page/bundle/page.html is what a fresh build gives
sentence, hostile, shapes, writing, long   the page in a real browser (tests/page/NAME.mjs)

Exit status 77 and a line "skipped: …" where node, its packages or a browser are missing.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "apps/page"
SKIPPED = 77
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def node():
    found = shutil.which("node")
    if not found:
        skip("the page's tests need node 18 or newer (Debian: nodejs, npm)")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 18:
        skip(f"the page's tests need node 18 or newer; this is {version}")
    return found


def modules(build):
    folder = pathlib.Path(build) / "page"
    lock, installed = PAGE / "package-lock.json", folder / "package-lock.json"
    if not (folder / "node_modules").is_dir() or installed.read_bytes() != lock.read_bytes():
        skip("the page's packages are not installed; scripts/fetch-page-tools does it")
    return folder


def browser():
    found = os.environ.get("FOVEA_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        skip("no browser to open the page in (Debian: chromium; or name one in FOVEA_BROWSER)")
    return found


def bundle(build):
    with tempfile.TemporaryDirectory() as scratch:
        fresh = pathlib.Path(scratch) / "page.html"
        environment = os.environ | {"FOVEA_PAGE_MODULES": str(modules(build))}
        subprocess.run([node(), PAGE / "build.mjs", fresh], env=environment, check=True)
        same = fresh.read_bytes() == (PAGE / "bundle/page.html").read_bytes()
    print("the committed bundle", "is fresh" if same else "is NOT what its sources give: run node apps/page/build.mjs and commit")
    return 0 if same else 1


def in_browser(name, args):
    with tempfile.TemporaryDirectory(prefix="fovea-page-") as scratch:
        environment = os.environ | {
            "FOVEA_PROGRAM": args.program, "FOVEA_LONG_BERT": args.long_bert, "FOVEA_SCRATCH": scratch,
            "FOVEA_MODEL": f"{args.build}/models/minilm", "FOVEA_BROWSER": browser(), "FOVEA_PAGE_MODULES": str(modules(args.build)),
        }
        return subprocess.run([node(), ROOT / f"tests/page/{name}.mjs"], env=environment).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["types", "bundle", "sentence", "hostile", "shapes", "writing", "long"])
    for flag in ("--program", "--long-bert", "--build"):
        parser.add_argument(flag, required=True)
    args = parser.parse_args()
    if args.name == "types":
        return subprocess.run([node(), modules(args.build) / "node_modules/typescript/bin/tsc", "-p", PAGE]).returncode
    return bundle(args.build) if args.name == "bundle" else in_browser(args.name, args)


if __name__ == "__main__":
    sys.exit(main())
