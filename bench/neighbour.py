"""The latency that a busy container has beside a running backup: alone, beside davit, beside davit with a limit, beside restic.

All share one file system on a loop device, on the disk: the container's file, the volume that is saved, and the
repositories. The container reads 4 KiB at a random place (O_DIRECT), writes 4 KiB at another and makes that durable
(fdatasync), and pauses for a millisecond.
"""
import mmap
import multiprocessing
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

from tools import Davit, Restic

MIB = 1 << 20
ALONE_SECONDS = 10
PAUSE_SECONDS = 0.001
BLOCK = 4096
FILE_BYTES = 256 * MIB
LIMIT_MIB = 50  # a second


class LimitedDavit(Davit):
    name = f"davit, limit-upload {LIMIT_MIB} MiB/s"

    def __init__(self, work, build):
        super().__init__(work, build)
        self.settings = {"DAVIT_LIMIT_UPLOAD": str(LIMIT_MIB << 10)}


def keep_busy(path, stop, results):
    direct, file = os.open(path, os.O_RDONLY | os.O_DIRECT), os.open(path, os.O_WRONLY)
    page = mmap.mmap(-1, BLOCK)  # aligned
    chosen = random.Random(1)
    reads, writes = [], []
    while not stop.is_set():
        places = [chosen.randrange(FILE_BYTES // BLOCK) * BLOCK for _ in range(2)]
        start = time.perf_counter()
        os.preadv(direct, [page], places[0])
        between = time.perf_counter()
        os.pwrite(file, chosen.randbytes(BLOCK), places[1])
        os.fdatasync(file)
        end = time.perf_counter()
        reads.append(between - start)
        writes.append(end - between)
        time.sleep(PAUSE_SECONDS)
    results.put((reads, writes))


def beside(path, work):
    """Latencies of reads and writes while `work` runs, and for how long it did."""
    stop, results = multiprocessing.Event(), multiprocessing.Queue()
    container = multiprocessing.Process(target=keep_busy, args=(path, stop, results))
    container.start()
    start = time.monotonic()
    try:
        work()
    finally:
        took = time.monotonic() - start
        stop.set()
        latencies = results.get()
        container.join()
    return latencies, took


def forget_pages(path):
    """Nothing of the file is in memory."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def measure_all(disk, build, restic, volume_mib, runs):
    """Lines of Markdown; none where this machine mounts no loop device."""
    top = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-", dir=disk))
    image, work = top / "image", top / "work"
    work.mkdir()
    with open(image, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, (volume_mib * 4 + 1024) * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, work], stderr=subprocess.DEVNULL).returncode == 0
    try:
        return list(lines(measure_on(work, build, restic, volume_mib, runs), volume_mib, runs)) if mounted else []
    finally:
        if mounted:
            subprocess.run(["umount", work], check=True)
        shutil.rmtree(top)


def measure_on(work, build, restic, volume_mib, runs):
    """{tool or "alone": (reads, writes, [seconds of each backup])}"""
    busy, source = work / "busy", work / "source"
    generate = [build / "bench" / "davit-bench-data", "random"]
    subprocess.run([*generate, busy, str(FILE_BYTES), "1"], check=True)
    (work / "limited").mkdir()
    tools = [Davit(work, build), LimitedDavit(work / "limited", build), Restic(work, restic)]
    measured = {name: ([], [], []) for name in ("alone", *(tool.name for tool in tools))}

    def add(name, latencies, took):
        for kept, new in zip(measured[name], (*latencies, [took])):
            kept.extend(new)

    try:
        subprocess.run([*generate, source, str(volume_mib * MIB), "2"], check=True)
        for number in range(runs):
            os.sync()
            add("alone", *beside(busy, lambda: time.sleep(ALONE_SECONDS)))
            for tool in tools if number % 2 == 0 else reversed(tools):
                for each in tools:
                    each.begin()
                volume = getattr(tool, "volume", tools[0].volume)
                source.rename(volume / "file")
                forget_pages(volume / "file")
                os.sync()
                add(tool.name, *beside(busy, lambda: tool.backup(volume)))
                (volume / "file").rename(source)
    finally:
        for tool in tools:
            tool.end()
    return measured


def percentile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def lines(measured, volume_mib, runs):
    yield (f"A busy container beside the backup of {volume_mib:,} MiB that are new, incompressible and not in memory; both on one "
           f"ext4 on a loop device of this machine's disk, and the repository, too. It reads 4 KiB at a random place (O_DIRECT), "
           f"writes 4 KiB at another and waits for fdatasync, and pauses for 1 ms. All latencies of {runs} runs; the whole backup: "
           "median.")
    yield ""
    yield "| beside | backup | reads | p50 | p99 | p99.9 | writes | p50 | p99 | p99.9 |"
    yield "|---|" + "--:|" * 9
    for name, (reads, writes, took) in measured.items():
        latencies = []
        for values in (reads, writes):
            latencies.append(f"{len(values):,}")
            latencies += [f"{percentile(values, share) * 1000:.2f} ms" for share in (0.5, 0.99, 0.999)]
        duration = "" if name == "alone" else f"{percentile(took, 0.5):.2f} s"
        yield f"| {name} | {duration} | {' | '.join(latencies)} |"
