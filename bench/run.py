#!/usr/bin/env python3
"""Davit's repository engine and restic, side by side on the same data and machine.

Data comes from a seed and lies, like the repositories, on a tmpfs, so that what is measured is the programs. Both run
one operation a process, in turn, several times; the table gives medians. Each process pays for opening the
repository, which is one scrypt with the parameters that its maker chose (restic's depend on the load at that
moment). Davit's daemon opens it once for all jobs: the ratio in bold leaves opening out on both sides.
"""
import argparse
import io
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

import images
import open_index

PASSWORD = "benchmark"
HERE = pathlib.Path(__file__).resolve().parent


class Measurement:
    def __init__(self, wall, cpu, peak_kib, opening):
        self.wall, self.cpu, self.peak_kib, self.opening = wall, cpu, peak_kib, opening


def measure(command, environment, stdin=None):
    """Runs a command to its end, `stdin` a file or nothing; wall and processor time, peak memory."""
    with tempfile.TemporaryFile() as out, open(stdin or os.devnull, "rb") as source:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=source, stdout=out, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode(errors="replace")
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {process.returncode}\n{text}")
    opening = None
    if text.startswith('{"open_seconds"'):
        opening = json.loads(text.splitlines()[0])["open_seconds"]
    return Measurement(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, opening)


def tree_bytes(directory):
    return sum(entry.stat().st_size for entry in pathlib.Path(directory).rglob("*") if entry.is_file())


class Davit:
    name = "davit"

    def __init__(self, work, binaries):
        self.program = binaries / "davit-engine-bench"
        self.repository, self.cache = work / "davit-repository", work / "davit-scan-cache"

    def run(self, *arguments, stdin=None):
        return measure([self.program, arguments[0], self.repository, *arguments[1:]],
                       {**os.environ, "RESTIC_PASSWORD": PASSWORD}, stdin)

    def init(self):
        shutil.rmtree(self.repository, ignore_errors=True)
        for name in ("", ".new"):
            pathlib.Path(str(self.cache) + name).unlink(missing_ok=True)
        return self.run("init")

    def backup(self, source):
        return self.run("backup", source, self.cache)

    def backup_image(self, stream):
        return self.run("image-backup", stdin=stream)

    def restore(self, target):
        return self.run("restore", target)

    def check(self):
        return self.run("check")

    def check_read_data(self):
        return self.run("check-read-data")

    def forget_oldest(self):
        return self.run("forget-oldest")

    def prune(self):
        return self.run("prune")


class Restic:
    name = "restic"

    def __init__(self, work, program):
        self.program = program
        self.repository, self.cache, self.temporary = (work / "restic-repository", work / "restic-cache",
                                                       work / "restic-tmp")

    def run(self, *arguments, stdin=None):
        return measure([self.program, "-q", "-r", self.repository, *arguments], self.environment(), stdin)

    def environment(self):
        return {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(self.cache),
                "TMPDIR": str(self.temporary)}

    def opening(self):
        """What every command of restic pays before its work (and before its lock, as davit's figure)."""
        return self.run("--no-lock", "cat", "config").wall

    def init(self):
        for directory in (self.repository, self.cache, self.temporary):
            shutil.rmtree(directory, ignore_errors=True)
        self.temporary.mkdir()
        return self.run("init", "--repository-version", "2")

    def backup(self, source):
        return self.run("backup", source)

    def backup_image(self, stream):
        return self.run("backup", "--stdin", "--stdin-filename", "image.tar", stdin=stream)

    def restore(self, target):
        return self.run("restore", "latest", "--target", target)

    def check(self):
        return self.run("check")

    def check_read_data(self):
        return self.run("check", "--read-data")

    def forget_oldest(self):
        listed = subprocess.run([self.program, "-r", self.repository, "snapshots", "--json"], check=True,
                                capture_output=True, env=self.environment())
        oldest = min(json.loads(listed.stdout), key=lambda snapshot: snapshot["time"])
        return self.run("forget", oldest["id"])

    def prune(self):
        return self.run("prune")


class Zstd:
    """What people do today: docker save | zstd. Stands in restic's columns of its rows."""
    name = "restic"

    def __init__(self, work):
        self.archive = work / "image.tar.zst"

    def opening(self):
        return 0.0

    def backup_image(self, stream):
        return measure(["zstd", "-q", "-f", "-3", "-T0", "-o", self.archive], os.environ, stream)


def make_image(work, sources, tag):
    """A docker-archive as `docker save` writes it: each source is a layer."""
    layers = []
    for number, source in enumerate(sources.values()):
        layer = work / f"layer-{number}.tar"
        if not layer.exists():
            with tarfile.open(layer, "w") as tar:
                tar.add(source, "data")
        layers.append(layer)
    path = work / f"image-{tag}.tar"
    with tarfile.open(path, "w") as tar:
        def add(name, content):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), int(time.time())
            tar.addfile(member, io.BytesIO(content))
        for layer in layers:
            tar.add(layer, f"{layer.stem}/layer.tar")
        add("config.json", json.dumps({"created": tag}).encode())
        names = [f"{layer.stem}/layer.tar" for layer in layers]
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [f"davit/bench:{tag}"],
                                          "Layers": names}]).encode())
    return path


def run_image(tools, work, sources, table):
    """An image's stream into the repository: new, and committed again with nothing changed but the moment."""
    first, second = make_image(work, sources, "1"), make_image(work, sources, "2")
    zstd = Zstd(work)
    for tool in tools:
        tool.init()
        table.add("image stream", tool, tool.backup_image(first), tree_bytes(tool.repository))
        before = tree_bytes(tool.repository)
        table.add("image stream, unchanged", tool, tool.backup_image(second), tree_bytes(tool.repository) - before)
    for job, stream in (("image stream, beside zstd -3", first), ("image stream, unchanged, beside zstd -3", second)):
        for measurement in table.rows[job.removesuffix(", beside zstd -3")]["davit"][-1:]:
            table.add(job, tools[0], measurement, table.sizes[job.removesuffix(", beside zstd -3")]["davit"])
        table.add(job, zstd, zstd.backup_image(stream), zstd.archive.stat().st_size)
    for path in (first, second, zstd.archive, *work.glob("layer-*.tar")):
        path.unlink()


class Table:
    def __init__(self):
        self.rows = {}  # job -> tool -> [Measurement]
        self.sizes = {}  # job -> tool -> bytes

    def add(self, job, tool, measurement, size=None):
        if measurement.opening is None:
            measurement.opening = tool.opening()
        self.rows.setdefault(job, {}).setdefault(tool.name, []).append(measurement)
        if size is not None:
            self.sizes.setdefault(job, {})[tool.name] = size

    def lines(self):
        yield ("| job | davit | opening | restic | opening | whole run | work only | davit CPU | restic CPU | davit peak "
               "| restic peak | davit stored | restic stored |")
        yield "|---|" + "--:|" * 12
        for job, tools in self.rows.items():
            ours, theirs = tools["davit"], tools["restic"]
            wall, other = median(ours, "wall"), median(theirs, "wall")
            work = statistics.median(run.wall - run.opening for run in ours)
            other_work = statistics.median(max(run.wall - run.opening, 0.01) for run in theirs)
            cells = [job, seconds(wall), seconds(median(ours, "opening")), seconds(other),
                     seconds(median(theirs, "opening")), f"{other / wall:.1f}", f"**{other_work / work:.1f}**",
                     seconds(median(ours, "cpu")), seconds(median(theirs, "cpu")),
                     mebibytes(median(ours, "peak_kib"), 1 << 10), mebibytes(median(theirs, "peak_kib"), 1 << 10)]
            sizes = self.sizes.get(job, {})
            cells += [mebibytes(sizes.get(name), 1 << 20) for name in ("davit", "restic")]
            yield "| " + " | ".join(cells) + " |"


def median(runs, what):
    return statistics.median(getattr(run, what) for run in runs)


def seconds(value):
    return "" if value is None else f"{value:.2f} s"


def mebibytes(value, units):
    return "" if value is None else f"{value / units:,.0f} MiB"


def run_once(tools, work, sources, generator, table, seed):
    """Every job once for every tool, the tools in turn."""
    turn = lambda: reversed(tools) if seed % 2 else tools

    def restored(tool, job):
        target = work / f"{tool.name}-restored"
        table.add(job, tool, tool.restore(target))
        shutil.rmtree(target)

    for job, source in sources.items():
        for tool in turn():
            tool.init()
            measurement = tool.backup(source)
            table.add(f"backup: {job}", tool, measurement, tree_bytes(tool.repository))
        for tool in turn():
            table.add(f"unchanged: {job}", tool, tool.backup(source))
        for tool in turn():
            restored(tool, f"restore: {job}")
        for tool in turn():
            table.add(f"check: {job}", tool, tool.check())
        for tool in turn():
            table.add(f"check, all data read: {job}", tool, tool.check_read_data())

    # Rows here and there change; then the first snapshot goes, and prune has half-empty packs to copy.
    pages = sources.get("database pages")
    if pages:
        for tool in tools:
            tool.init()
            tool.backup(pages)
        file = next(pages.iterdir())
        shutil.copyfile(file, work / "pages-before")
        subprocess.run([generator, "touch", file, "0.002", str(seed + 100)], check=True)
        for tool in turn():
            table.add("1 page in 500 changed", tool, tool.backup(pages))
        for tool in turn():
            tool.forget_oldest()
            table.add("forget the first, prune", tool, tool.prune(), tree_bytes(tool.repository))
        shutil.copyfile(work / "pages-before", file)
        (work / "pages-before").unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build" / "release")
    parser.add_argument("--restic", default="restic")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages", type=float, default=1024, help="MiB of database pages; 0: leave that out")
    parser.add_argument("--files", type=int, default=100_000, help="small files; 0: leave that out")
    parser.add_argument("--blobs", type=int, default=1_000_000, help="of the index that is opened; 0: leave that out")
    parser.add_argument("--image", type=int, default=600, help="MB of an image in private engines; 0: leave that out")
    parser.add_argument("--engines", default="docker-20.10,podman-4.3", help="as DAVIT_ENGINE of tests/engines/engine.sh")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/dev/shm"))
    parser.add_argument("--write", type=pathlib.Path, help="put the table into this file (docs/performance.md)")
    options = parser.parse_args()

    work = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-", dir=options.work))
    try:
        binaries = options.build / "bench"
        generator = binaries / "davit-bench-data"
        sources = {}
        if options.pages > 0:
            (work / "pages").mkdir()
            subprocess.run([generator, "pages", work / "pages" / "table", str(int(options.pages * (1 << 20))),
                            str(options.seed)], check=True)
            sources["database pages"] = work / "pages"
        if options.files > 0:
            subprocess.run([generator, "files", work / "files", str(options.files), str(options.seed)], check=True)
            sources["small files"] = work / "files"
        tools = [Davit(work, binaries), Restic(work, options.restic)]
        table = Table()
        for run in range(options.runs):
            print(f"run {run + 1} of {options.runs}", file=sys.stderr)
            run_once(tools, work, sources, generator, table, options.seed + run)
            if sources:
                run_image(tools, work, sources, table)
        version = subprocess.run([options.restic, "version"], check=True, capture_output=True, text=True).stdout
        paragraphs = [describe(options, version, sources), "", *table.lines(), ""] if table.rows else []
        if options.blobs > 0:
            paragraphs += [*open_index.measure(work, binaries, options.restic, options.blobs, options.runs), ""]
        if options.image > 0:
            rows = images.run_engines(options.engines.split(","), options.image, options.runs, options.build, work)
            if rows:
                paragraphs += [*images.lines(rows, options.runs), ""]
        text = "\n".join(paragraphs)
        print(text)
        if options.write:
            write_section(options.write, text)
    finally:
        shutil.rmtree(work)


def describe(options, version, sources):
    processor = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                     "unknown")
    amounts = [f"{name}: {tree_bytes(path) / (1 << 20):,.0f} MiB in "
               f"{sum(1 for entry in path.rglob('*') if entry.is_file()):,} files"
               for name, path in sources.items()]
    return (f"{'; '.join(amounts)}; seed {options.seed}. {os.cpu_count()} processors ({processor}), tmpfs. "
            f"{version.strip()}. Medians of {options.runs} runs. "
            f"Ratios: restic's time divided by davit's, over 1 where davit is faster. Peak: of resident memory. An image's layers are the two sources; restic saves the "
            f"stream with --stdin; in rows beside zstd, restic's columns are those of `zstd -3 -T0`, on all processors.")


def write_section(path, text):
    """Replaces what stands between the marks, or appends."""
    begin, end = "<!-- begin: bench/run.py -->", "<!-- end: bench/run.py -->"
    old = path.read_text() if path.exists() else "# Performance\n\nMade by `make bench`.\n"
    section = f"{begin}\n{text}{end}"
    if begin in old and end in old:
        new = old[:old.index(begin)] + section + old[old.index(end) + len(end):]
    else:
        new = old + "\n" + section + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(new)


if __name__ == "__main__":
    main()
