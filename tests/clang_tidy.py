#!/usr/bin/env python3
"""Runs clang-tidy over every source in compile_commands.json, in parallel.

    tests/clang_tidy.py [--jobs=N] [FILE...]

Prints the diagnostics and exits 1 where there are any (.clang-tidy makes every
warning an error). A file that passed is remembered by a hash of everything that
its verdict depends on, so that a second run only looks at what has changed; the
hashes are kept in the checkout's .cache/clang-tidy, which Git ignores.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Where deploy/install_packages.sh --tests puts it.
CLANG_TIDY = os.path.join(ROOT, ".cache/tools/clang_tidy/data/bin/clang-tidy")
QUOTED_INCLUDE = re.compile(rb'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
# GCC's warning names and AVX spellings need not be known to clang, and
# clang-tidy sees no optimizer, so macros that ask for one are only noise.
EXTRA_ARGUMENTS = ("-Wno-unknown-warning-option", "-Wno-ignored-optimization-argument",
                   "-U_FORTIFY_SOURCE")


@functools.lru_cache(maxsize=None)
def read(path):
    with open(os.path.join(ROOT, path), "rb") as file:
        return file.read()


@functools.lru_cache(maxsize=None)
def own_includes(path):
    """Headers of this repository that `path` names itself."""
    beside = os.path.dirname(path)
    found = []
    for raw in QUOTED_INCLUDE.findall(read(path)):
        name = raw.decode()
        for candidate in (name, os.path.join(beside, name)):
            if os.path.isfile(os.path.join(ROOT, candidate)):
                found.append(candidate)
                break
    return found


def closure(path):
    """`path` and every header of ours that it reaches, sorted."""
    seen, pending = {path}, [path]
    while pending:
        for name in own_includes(pending.pop()):
            if name not in seen:
                seen.add(name)
                pending.append(name)
    return sorted(seen)


def proto_files():
    folder = os.path.join(ROOT, "proto")
    return sorted(os.path.relpath(os.path.join(parent, name), ROOT)
                  for parent, _, names in os.walk(folder)
                  for name in names if name.endswith(".proto"))


class Verdicts:
    """The hashes of files that passed."""

    def __init__(self, version):
        self.folder = os.path.join(ROOT, ".cache", "clang-tidy")
        os.makedirs(self.folder, exist_ok=True)
        self.common = hashlib.sha256()
        self.common.update(version)
        for path in (".clang-tidy", "tests/clang_tidy.py", *proto_files()):
            self.common.update(read(path))

    def key(self, command):
        digest = self.common.copy()
        digest.update("\0".join(command["arguments"]).encode())
        for path in closure(command["file"]):
            digest.update(path.encode() + b"\0" + read(path))
        return os.path.join(self.folder, digest.hexdigest())

    def passed(self, command):
        return os.path.exists(self.key(command))

    def remember(self, command):
        with open(self.key(command), "w", encoding="utf-8"):
            pass


def check(command):
    """clang-tidy's exit status and diagnostics for one source."""
    extra = [f"--extra-arg={argument}" for argument in EXTRA_ARGUMENTS]
    result = subprocess.run(
        [CLANG_TIDY, "--quiet", "-p", ROOT, *extra, command["file"]],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        check=False)
    # stderr counts the warnings suppressed in system headers; it is of
    # interest only where clang-tidy could not run at all.
    output = result.stdout.strip()
    if result.returncode and not output:
        output = result.stderr.strip()
    return result.returncode, output


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()

    with open(os.path.join(ROOT, "compile_commands.json"),
              encoding="utf-8") as file:
        commands = json.load(file)
    if options.files:
        commands = [c for c in commands if c["file"] in options.files]
    verdicts = Verdicts(subprocess.check_output([CLANG_TIDY, "--version"]))
    pending = [c for c in commands if not verdicts.passed(c)]
    # The largest first, so that none is left to run alone at the end.
    pending.sort(key=lambda c: -sum(len(read(p)) for p in closure(c["file"])))
    print(f"clang-tidy: {len(pending)} sources to check, "
          f"{len(commands) - len(pending)} unchanged since they passed",
          flush=True)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = {pool.submit(check, c): c for c in pending}
        for done, run in enumerate(concurrent.futures.as_completed(runs), 1):
            status, output = run.result()
            command = runs[run]
            if status == 0:
                verdicts.remember(command)
            else:
                failed += 1
                print(output)
            print(f"[{done}/{len(pending)}] "
                  f"{'ok' if status == 0 else 'FAILED'} {command['file']}",
                  flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
