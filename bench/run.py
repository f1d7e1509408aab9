#!/usr/bin/env python3
"""Davit as its users have it, beside restic, borg and tar: `make bench`.

Everything lies on a tmpfs, so that what is measured is the programs. Davit works through a daemon of its own, which runs
as long as a run of a group of rows does, and its client; the others are one process a command, as people run them.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import images
import neighbour
import open_index
import s3
from jobs import GIB, GROUPS
from table import Table
from tools import Borg, Davit, Restic, Tar

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ("table", "index", "neighbour", "s3", "images")
NEEDS = 9 * GIB  # alive at once: 2 GiB of data, two repositories of it, what one of them restores, and some for the programs

S3_NEEDS = 12 * GIB  # the data, the Ceph with both repositories and their journals, and what one of them restores


def need_memory(size_bytes):
    for line in open("/proc/meminfo"):
        if line.startswith("MemAvailable:") and int(line.split()[1]) << 10 < size_bytes:
            sys.exit(f"needs {size_bytes / GIB:.1f} GiB of memory that is available; see --scale")


def run_table(options, work):
    build = options.build.resolve()
    tools = [Davit(work, build), Restic(work, options.restic), Borg(work), Tar(work)]
    table = Table()
    need_memory(int(NEEDS * options.scale))
    for name in options.only or GROUPS:
        GROUPS[name](tools, work, build / "bench" / "davit-bench-data", table, options.scale, options.seed).measure(options.runs)
    return [describe(options), "", *table.lines(), ""]


def describe(options):
    processor = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                     "unknown")
    versions = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]
                for command in ([options.restic, "version"], ["borg", "--version"], ["tar", "--version"])]
    zstd = subprocess.run(["zstd", "--version"], check=True, capture_output=True, text=True).stdout
    versions.append("zstd " + re.search(r"v([0-9.]+)", zstd).group(1))
    return (f"Medians of {options.runs} runs, interleaved; seed {options.seed}. {os.cpu_count()} processors ({processor}), Linux "
            f"{os.uname().release}, everything on a tmpfs; as much memory as the data was touched just before each backup and restore. {', '.join(versions)}. Ratio: restic's "
            "time divided by davit's, over 1 where davit is faster. Davit: `davit` and a running `davitd` with its default settings "
            "(retention included; but schedules off, and no engine); its processor time and memory are both programs'. restic: the "
            "whole command, with its cache. borg: repokey-blake2, zstd,3. tar: `tar | zstd -3 -T0`, which neither encrypts nor "
            "deduplicates. Peak: of anonymous memory, in any run, looked at every 5 ms; it must not be above restic's, nor above "
            "150 MB. Stored: what was added; of prune: what is left. Size: 3 % more than restic's at most.")


def write_section(path, part, text):
    """Replaces what stands between the part's marks, or appends."""
    begin, end = f"<!-- begin: {part} -->", f"<!-- end: {part} -->"
    old = path.read_text() if path.exists() else "# Performance\n\nMade by `make bench`.\n"
    section = f"{begin}\n{text}{end}"
    if begin in old and end in old:
        new = old[:old.index(begin)] + section + old[old.index(end) + len(end):]
    else:
        new = old + "\n" + section + "\n"
    path.write_text(new)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build" / "release")
    parser.add_argument("--restic", default="restic")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1, help="the share of the data that is measured")
    parser.add_argument("--quick", action="store_true", help="one run on a tenth of the data: the table only")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--only", nargs="+", choices=GROUPS, help="groups of the table's rows")
    parser.add_argument("--blobs", type=int, default=5_000_000, help="of the index that is opened")
    parser.add_argument("--image", type=int, default=600, help="MB of an image in private engines")
    parser.add_argument("--engines", default="docker-20.10,podman-4.3", help="as DAVIT_ENGINE of tests/engines/engine.sh")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/dev/shm"))
    parser.add_argument("--disk", type=pathlib.Path, default=pathlib.Path("/var/tmp"), help="a directory of a disk, for neighbour")
    parser.add_argument("--write", type=pathlib.Path, help="put what was measured into this file (docs/performance.md)")
    options = parser.parse_args()
    if options.quick:
        options.runs, options.scale, options.parts = 1, 0.1, ("table",)
    return options


def main():
    options = parse_arguments()
    work = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-", dir=options.work))
    try:
        for part in options.parts:
            if part == "table":
                lines = run_table(options, work)
            elif part == "index":
                lines = [*open_index.measure_all(work, options.build / "bench", options.restic, options.blobs, options.runs), ""]
            elif part == "neighbour":
                lines = [*neighbour.measure_all(options.disk, options.build.resolve(), options.restic,
                                                int(2048 * options.scale), options.runs), ""]
            elif part == "s3":
                need_memory(int(S3_NEEDS * options.scale))
                lines = [*s3.measure_all(work, options.build.resolve(), options.restic, options.runs, options.scale, options.seed), ""]
            else:
                rows = images.run_engines(options.engines.split(","), options.image, options.runs, options.build, work)
                lines = [*images.lines(rows, options.runs), ""] if rows else []
            text = "\n".join(lines) if any(lines) else ""
            print(text, flush=True)
            if options.write and text:
                write_section(options.write, part, text)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
