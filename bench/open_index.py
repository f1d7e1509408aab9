#!/usr/bin/env python3
"""Opening a repository of millions of blobs: how long until the index is at hand, and in how much memory.

There are no packs and no snapshots, only index files, made from a seed: restic's `stats` then does nothing but open the
repository and load its index. Both sides begin without a cache, then have their own. Memory is anonymous memory
(RssAnon), looked at every few milliseconds: pages of a mapped file are the kernel's.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PASSWORD = "benchmark"
HERE = pathlib.Path(__file__).resolve().parent


def anonymous_kib(pid):
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def run(command, environment):
    """Wall time, peak of anonymous memory in KiB, and what it printed."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True)
    peak = 0
    wall = None

    def look():
        nonlocal peak
        while wall is None:
            peak = max(peak, anonymous_kib(process.pid))
            time.sleep(0.003)

    looking = threading.Thread(target=look)
    looking.start()
    output, _ = process.communicate()
    wall = time.monotonic() - start
    looking.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {process.returncode}\n{output}")
    return wall, peak, output


def measure(work, binaries, restic, blobs, runs):
    """Lines of a Markdown table."""
    repository, ours, theirs = work / "index-repository", work / "index-cache", work / "index-restic-cache"
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(theirs), "TMPDIR": str(work)}
    program = binaries / "davit-index-bench"
    run([program, "make", repository, str(blobs)], environment)
    rows = {}

    def davit(row, command):
        _, peak, output = run([program, command, repository, ours], environment)
        took = json.loads(output.splitlines()[0])
        rows.setdefault(row, {}).setdefault("davit", []).append(
            (took["index_seconds"], took["open_seconds"] + took["index_seconds"], peak))

    def other(row):
        # What every command of restic pays before its work: scrypt, mostly.
        opening, _, _ = run([restic, "-q", "-r", repository, "--no-lock", "cat", "config"], environment)
        wall, peak, _ = run([restic, "-q", "-r", repository, "--no-lock", "stats"], environment)
        rows.setdefault(row, {}).setdefault("restic", []).append((max(wall - opening, 0.001), wall, peak))

    cold, warm = "no cache yet", "with its own cache"
    try:
        for _ in range(runs):
            for directory in (ours, theirs):
                shutil.rmtree(directory, ignore_errors=True)
            davit(cold, "open")
            davit(warm, "open")
            other(cold)
            other(warm)
            davit("the table of check and prune", "upkeep")
    finally:
        for directory in (repository, ours, theirs):
            shutil.rmtree(directory, ignore_errors=True)

    rows["the table of check and prune"]["restic"] = rows[warm]["restic"]
    yield (f"Opening a repository of {blobs:,} blobs. Times of reading the index, without the password's scrypt, and with "
           f"it; peaks of anonymous memory. restic: `stats`, without a snapshot. Medians of {runs} runs.")
    yield ""
    yield ("| index | davit | restic | ratio | davit with scrypt | restic with scrypt | ratio | davit memory "
           "| restic memory |")
    yield "|---|" + "--:|" * 8
    for name, tools in rows.items():
        ours_, theirs_ = ([statistics.median(values) for values in zip(*tools[tool])] for tool in ("davit", "restic"))
        yield (f"| {name} | {ours_[0]:.3f} s | {theirs_[0]:.2f} s | **{theirs_[0] / ours_[0]:.1f}** | {ours_[1]:.2f} s "
               f"| {theirs_[1]:.2f} s | {theirs_[1] / ours_[1]:.1f} | {ours_[2] / 1024:.0f} MiB "
               f"| {theirs_[2] / 1024:.0f} MiB |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build" / "release")
    parser.add_argument("--restic", default="restic")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--blobs", type=int, default=5_000_000)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/dev/shm"))
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-", dir=options.work))
    try:
        print("\n".join(measure(work, options.build / "bench", options.restic, options.blobs, options.runs)))
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
