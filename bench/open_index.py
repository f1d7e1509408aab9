#!/usr/bin/env python3
"""Opening a repository of millions of blobs: how long until the index is at hand, and in how much memory.

There are no packs and no snapshots, only index files, made from a seed: restic's `stats` then does nothing but open the
repository and load its index. Both sides begin without a cache, then have their own. Memory is anonymous memory
(RssAnon): pages of a mapped file are the kernel's.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import tempfile

from measure import measure

PASSWORD = "benchmark"
HERE = pathlib.Path(__file__).resolve().parent
COLD, WARM, UPKEEP = "no cache yet", "with its own cache", "the table of check and prune"
AT_LEAST, AIM, WARM_SECONDS = 8, 12, 0.05


def measure_all(work, binaries, restic, blobs, runs):
    """Lines of a Markdown table."""
    repository, ours, theirs = work / "index-repository", work / "index-cache", work / "index-restic-cache"
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(theirs), "TMPDIR": str(work)}
    program = binaries / "davit-index-bench"
    measure([program, "make", repository, blobs], environment=environment)
    rows = {}

    def davit(row, command):
        run = measure([program, command, repository, ours], environment=environment)
        took = json.loads(run.output.splitlines()[0])
        rows.setdefault(row, {}).setdefault("davit", []).append(
            (took["index_seconds"], took["open_seconds"] + took["index_seconds"], run.peak_bytes))

    def other(row):
        # What every command of restic pays before its work: scrypt, mostly.
        command = [restic, "-q", "-r", repository, "--no-lock"]
        opening = measure([*command, "cat", "config"], environment=environment).wall
        run = measure([*command, "stats"], environment=environment)
        rows.setdefault(row, {}).setdefault("restic", []).append((max(run.wall - opening, 0.001), run.wall, run.peak_bytes))

    try:
        for _ in range(runs):
            for directory in (ours, theirs):
                shutil.rmtree(directory, ignore_errors=True)
            davit(COLD, "open")
            davit(WARM, "open")
            other(COLD)
            other(WARM)
            davit(UPKEEP, "upkeep")
    finally:
        for directory in (repository, ours, theirs):
            shutil.rmtree(directory, ignore_errors=True)

    rows[UPKEEP]["restic"] = rows[WARM]["restic"]
    yield (f"Opening a repository of {blobs:,} blobs. Times of reading the index, without the password's scrypt, and with "
           f"it; peaks of anonymous memory. At least {AT_LEAST}× restic without a cache, the aim is {AIM}×; under "
           f"{WARM_SECONDS * 1000:.0f} ms with one. restic: `stats`, without a snapshot. Medians of {runs} runs.")
    yield ""
    yield ("| index | davit | restic | ratio | davit with scrypt | restic with scrypt | ratio | davit memory "
           "| restic memory | reached |")
    yield "|---|" + "--:|" * 8 + "---|"
    for name, tools in rows.items():
        ours_, theirs_ = ([statistics.median(values) for values in zip(*tools[tool])] for tool in ("davit", "restic"))
        yield (f"| {name} | {ours_[0]:.3f} s | {theirs_[0]:.2f} s | **{theirs_[0] / ours_[0]:.1f}** | {ours_[1]:.2f} s "
               f"| {theirs_[1]:.2f} s | {theirs_[1] / ours_[1]:.1f} | {ours_[2] / (1 << 20):.0f} MiB "
               f"| {theirs_[2] / (1 << 20):.0f} MiB | {verdict(name, ours_, theirs_)} |")


def verdict(row, ours, theirs):
    """Seconds without the password's scrypt, and with it, and bytes of memory; of the first two rows something is demanded."""
    ratio = theirs[0] / ours[0]
    if row == COLD:
        return "yes, the aim" if ratio >= AIM else "yes" if ratio >= AT_LEAST else "**no**"
    return "" if row != WARM else "yes" if ours[0] < WARM_SECONDS else "**no**"


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
        print("\n".join(measure_all(work, options.build / "bench", options.restic, options.blobs, options.runs)))
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
