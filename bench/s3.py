"""Davit beside restic on S3: a real Ceph of one host, in memory, whose gateway both reach over loopback.

Each run has a Ceph of its own: what is removed there stays in its memory for long.
"""
import os
import pathlib
import subprocess

import jobs
from table import Table, cells, mebibytes, seconds
from tools import Davit, Restic

CEPH = pathlib.Path(__file__).resolve().parent.parent / "tests" / "store" / "ceph.sh"
KEYS = {"AWS_ACCESS_KEY_ID": "davit", "AWS_SECRET_ACCESS_KEY": "davit-secret"}
# Of every row: restic's wall time divided by davit's, at least.
TARGETS = {"backup random": 2, "restore random": 2, "backup files": 2, "restore files": 2}


class Ceph:
    def __init__(self, work, size_bytes):
        self.directory = work / "ceph"
        subprocess.run([CEPH, "up", self.directory], check=True,
                       env={**os.environ, "DAVIT_CEPH_BYTES": str(size_bytes)})
        lines = (self.directory / "s3").read_text().splitlines()
        self.address = dict(line.split("=", 1) for line in lines)["HTTP"]

    def url(self, bucket):
        return f"s3:http://{self.address}/{bucket}"

    def end(self):
        subprocess.run([CEPH, "down", self.directory], check=True)


class S3Davit(Davit):
    def begin(self, **options):
        self.settings = {"RESTIC_REPOSITORY": self.ceph.url("davit"), **KEYS}
        self.end()
        self._start()
        self.run("init")
        self.make_volume(**options)

    def stored(self):
        return 0


class S3Restic(Restic):
    def __init__(self, work, program):
        super().__init__(work, program)
        self.state = (self.cache, self.temporary)
        self.environment.update(KEYS)

    def begin(self):
        self.repository = self.ceph.url("restic")
        super().begin()

    def stored(self):
        return 0


class OnCeph:
    """A group whose repositories are on a Ceph of each run's own."""
    ceph = None

    def begin(self, **options):
        # Both repositories, the files that are restored and what the object store needs beside.
        self.ceph = Ceph(self.source.parent, 3 * self.single_bytes + jobs.GIB)
        for tool in self.tools:
            tool.ceph = self.ceph
        super().begin(**options)

    def end(self):
        super().end()
        if self.ceph:
            self.ceph.end()
            self.ceph = None


class S3Incompressible(OnCeph, jobs.Group):
    def make(self):
        self.generate("random", self.source / "random", self.single_bytes, self.seed)

    def rows(self, number):
        self.backup(number, "backup random", f"backup to S3, {self.amount()} incompressible, one file")
        self.restore(number, "restore random", f"restore from S3, {self.amount()} incompressible, one file")


class S3SmallFiles(OnCeph, jobs.Group):
    def make(self):
        self.generate("files", self.source, self.file_count, self.seed)

    def rows(self, number):
        self.backup(number, "backup files", f"backup to S3, {self.file_count:,} small files")
        self.restore(number, "restore files", f"restore from S3, {self.file_count:,} small files")


class S3Table(Table):
    targets, tools = TARGETS, ("davit", "restic")

    def lines(self):
        yield "| work | davit | restic | ratio | at least | reached | davit, processor | restic, processor | davit peak | restic peak |"
        yield "|---|--:|--:|--:|--:|---|--:|--:|--:|--:|"
        for row, title in self._rows():
            walls, times = ([self._median(row, tool, what) for tool in self.tools] for what in ("wall", "cpu"))
            peaks = [self._peak(row, tool) for tool in self.tools]
            ratio, at_least = walls[1] / walls[0], TARGETS[row]
            yield cells(title, *map(seconds, walls), f"**{ratio:.1f}**", f"{at_least:g}",
                        "yes" if ratio >= at_least else "**no**", *map(seconds, times), *map(mebibytes, peaks))


def measure_all(work, build, restic, runs, scale, seed):
    tools = [S3Davit(work, build), S3Restic(work, restic)]
    table = S3Table()
    for group in (S3Incompressible, S3SmallFiles):
        group(tools, work, build / "bench" / "davit-bench-data", table, scale, seed).measure(runs)
    return [f"Medians of {runs} runs, interleaved; seed {seed}. A Ceph of one host (monitor, OSD in memory, S3 gateway) on the same "
            f"{os.cpu_count()} processors, whose work is in the times of both.", "", *table.lines()]
