"""What is measured: groups of rows, each on data of its own, that is made once and removed after the group's last run.

A run does one row after the other, each with all tools in turn, every other run in the reverse order.
"""
import math
import random
import subprocess
import sys
import time

from measure import touch_memory
from tools import remove

GIB = 1 << 30
SETTLE_SECONDS = 4  # files younger than that may change with no sign of it, and davit reads them again


class Group:
    """`tools`: davit is the first. `scale`: the share of the amounts that is measured."""

    def __init__(self, tools, work, generator, table, scale, seed):
        self.tools, self.davit, self.table, self.scale, self.seed = tools, tools[0], table, scale, seed
        self.source, self._generator = work / "source", generator
        self.single_bytes = int(2 * GIB * scale) >> 13 << 13
        self.file_count = max(int(200_000 * scale), 200)

    def measure(self, runs):
        self.source.mkdir()
        try:
            self.make()
            for number in range(runs):
                print(f"{type(self).__name__}: run {number + 1} of {runs}", file=sys.stderr)
                self.run(number)
        finally:
            self.end()
            remove(self.source)

    def end(self):
        for tool in self.tools:
            tool.end()

    def run(self, number):
        self.begin()
        self.rows(number)
        self.move(self.davit.volume, self.source)
        self.end()

    def begin(self, **options):
        """New repositories, and the data in davit's volume, as old as a volume's data is."""
        for tool in self.tools:
            tool.begin(**options) if tool is self.davit else tool.begin()
        self.move(self.source, self.davit.volume)
        if self.scale >= 0.01:  # figures of less data are worth nothing
            time.sleep(SETTLE_SECONDS)

    @staticmethod
    def move(source, target):
        for entry in source.iterdir():
            entry.rename(target / entry.name)

    def generate(self, kind, name, amount, seed):
        subprocess.run([self._generator, kind, name, str(amount), str(seed)], check=True)

    def change_files(self, directory, count, seed):
        """Rewrites so many of the files that generate("files", …) made there."""
        names = sorted(directory.rglob("file*"))
        chosen = random.Random(seed)
        for path in chosen.sample(names, min(count, len(names))):
            path.write_bytes(chosen.randbytes(chosen.randrange(200, 8000)))

    def touch(self):
        touch_memory(self.source.parent, self.single_bytes)

    def in_turn(self, number, tools=None):
        tools = self.tools if tools is None else tools
        return reversed(tools) if number % 2 else tools

    def both(self):
        return self.tools[:2]

    def deduplicating(self):
        return [tool for tool in self.tools if tool.name != "tar"]

    def backup(self, number, row, title, tools=None):
        for tool in self.in_turn(number, tools):
            before = tool.stored()
            self.touch()
            measurement = tool.backup(self.davit.volume)
            self.table.add(row, title, tool.name, measurement, tool.stored() - before)

    def restore(self, number, row, title, tools=None):
        for tool in self.in_turn(number, tools):
            self.touch()
            measurement, restored = tool.restore()
            if number == 0:  # fast and wrong is no row
                subprocess.run(["diff", "-rq", "--no-dereference", self.davit.volume, restored], check=True)
            self.table.add(row, title, tool.name, measurement)
            tool.remove_restored()

    def check(self, number, row, title):
        for tool in self.in_turn(number, self.both()):
            self.table.add(row, title, tool.name, tool.check_read_data())

    def amount(self):
        return f"{self.single_bytes / GIB:g} GiB" if self.single_bytes >= GIB else f"{self.single_bytes >> 20} MiB"


class Incompressible(Group):
    def make(self):
        self.generate("random", self.source / "random", self.single_bytes, self.seed)

    def rows(self, number):
        self.save_and_restore(number, self.both())
        self.check(number, "check random", f"check, all data read, {self.amount()} incompressible")
        for tool in self.both()[1:]:
            tool.end()
        for tool in self.tools[2:]:  # one by one: a repository each is as large as the data
            self.save_and_restore(number, [tool])
            tool.end()

    def save_and_restore(self, number, tools):
        self.backup(number, "backup random", f"backup, {self.amount()} incompressible, one file", tools)
        self.restore(number, "restore random", f"restore, {self.amount()} incompressible, one file", tools)


class Pages(Group):
    def make(self):
        self.generate("pages", self.source / "table", self.single_bytes, self.seed)

    def rows(self, number):
        self.backup(number, "backup pages", f"backup, {self.amount()} of database pages, one file")


class Programs(Group):
    """No seed makes programs: it is this machine's /usr."""

    def make(self):
        with open(self.source / "usr.tar", "wb") as file:
            tar = subprocess.Popen(["tar", "--sort=name", "-C", "/", "-cf", "-", "usr"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
            subprocess.run(["head", "-c", str(self.single_bytes)], stdin=tar.stdout, stdout=file, check=True)
            tar.stdout.close()  # it ends, done or not
            tar.wait()

    def rows(self, number):
        self.backup(number, "backup usr", f"backup, {self.amount()} of a tar of /usr, one file")


class SmallFiles(Group):
    CHANGED = 100

    def make(self):
        self.generate("files", self.source, self.file_count, self.seed)

    def rows(self, number):
        count = f"{self.file_count:,}"
        self.backup(number, "backup files", f"backup, {count} small files")
        self.backup(number, "unchanged files", "the same, nothing changed", self.deduplicating())
        self.restore(number, "restore files", f"restore, {count} small files")
        self.check(number, "check files", f"check, all data read, {count} small files")
        self.change_files(self.davit.volume, self.CHANGED, self.seed + 1 + number)
        self.backup(number, "changed files", f"backup, {self.CHANGED} files changed", self.deduplicating())


class Prune(Group):
    """Snapshots of small files and database pages of which a little changes each time; the older half is forgotten.

    They are made once; each run prunes a copy of the repository."""
    SNAPSHOTS, CHANGED_FILES, CHANGED_PAGES = 20, 0.02, 0.001

    def make(self):
        self.tools = self.both()
        self.file_count = max(self.file_count // 4, 100)
        self.snapshots = self.SNAPSHOTS if self.scale >= 0.01 else 2
        self.generate("files", self.source, self.file_count, self.seed)
        self.generate("pages", self.source / "table", self.single_bytes // 4, self.seed)
        self.begin(**{"keep-last": "100"})  # its retention shall not do the work that is measured
        volume = self.davit.volume
        for number in range(self.snapshots):
            print(f"Prune: snapshot {number + 1} of {self.snapshots}", file=sys.stderr)
            if number:
                self.change_files(volume, math.ceil(self.file_count * self.CHANGED_FILES), self.seed + number)
                self.generate("touch", volume / "table", self.CHANGED_PAGES, self.seed + number)
            for tool in self.tools:
                tool.backup(volume)
        self.move(volume, self.source)
        for tool in self.tools:
            tool.keep()

    def run(self, number):
        title = f"prune, {self.snapshots // 2} of {self.snapshots} snapshots forgotten"
        for tool in self.in_turn(number):
            tool.again()
            tool.forget_oldest(self.snapshots // 2)
            measurement = tool.prune()
            self.table.add("prune", title, tool.name, measurement, tool.stored())


GROUPS = {"random": Incompressible, "pages": Pages, "usr": Programs, "files": SmallFiles, "prune": Prune}
