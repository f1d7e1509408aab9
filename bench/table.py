"""The table: medians, ratios, and whether each row reaches what it must."""
import statistics

MUST_PEAK_BYTES = 150e6  # of anonymous memory, and not above restic's
MUST_SIZE = 1.03  # of restic's

# Of every row: restic's wall time divided by davit's, at least and aimed at.
TARGETS = {
    "backup random": (3.5, 4.5),
    "backup pages": (2, 2.8),
    "backup usr": (2, 2.8),
    "backup files": (3.5, 5),
    "unchanged files": (10, 30),
    "changed files": (10, 30),
    "restore random": (2.5, 4),
    "restore files": (3, 5),
    "check random": (2.5, 4),
    "check files": (2.5, 4),
    "prune": (3, 6),
}
TOOLS = ("davit", "restic", "borg", "tar")


class Table:
    targets = TARGETS

    def __init__(self):
        self._titles = {}  # row -> title
        self._runs = {}  # (row, tool) -> [Measurement]
        self._sizes = {}  # (row, tool) -> [bytes], of the repository, or what was added to it

    def add(self, row, title, tool, measurement, size=None):
        self._titles[row] = title
        self._runs.setdefault((row, tool), []).append(measurement)
        if size is not None:
            self._sizes.setdefault((row, tool), []).append(size)

    def _rows(self):
        return [(row, self._titles[row]) for row in self.targets if row in self._titles]

    def _median(self, row, tool, what):
        runs = self._runs.get((row, tool))
        return statistics.median(getattr(run, what) for run in runs) if runs else None

    def _size(self, row, tool):
        sizes = self._sizes.get((row, tool))
        return statistics.median(sizes) if sizes else None

    def _peak(self, row, tool):
        """The greatest of all runs: a bound, no habit."""
        runs = self._runs.get((row, tool))
        return max(run.peak_bytes for run in runs) if runs else None

    def _verdict(self, row):
        """The ratio of wall times, and what it and the rest come to."""
        at_least, aim = TARGETS[row]
        ratio = self._median(row, "restic", "wall") / self._median(row, "davit", "wall")
        missed = [] if ratio >= at_least else ["speed"]
        if self._peak(row, "davit") > min(MUST_PEAK_BYTES, self._peak(row, "restic")):
            missed.append("memory")
        sizes = [self._size(row, tool) for tool in ("davit", "restic")]
        if row.startswith("backup") and sizes[0] > sizes[1] * MUST_SIZE:
            missed.append("size")
        if missed:
            return ratio, f"**no: {', '.join(missed)}**"
        return ratio, "yes, the aim" if ratio >= aim else "yes"

    def lines(self):
        """Three tables in Markdown."""
        yield "| work | davit | restic | ratio | at least | aim | reached | borg | tar and zstd |"
        yield "|---|--:|--:|--:|--:|--:|---|--:|--:|"
        for row, title in self._rows():
            walls = [seconds(self._median(row, tool, "wall")) for tool in TOOLS]
            ratio, verdict = self._verdict(row)
            at_least, aim = TARGETS[row]
            yield cells(title, *walls[:2], f"**{ratio:.1f}**", f"{at_least:g}", f"{aim:g}", verdict, *walls[2:])
        yield ""
        yield "| processor time | davit | restic | ratio | borg | tar and zstd |"
        yield "|---|--:|--:|--:|--:|--:|"
        for row, title in self._rows():
            times = [self._median(row, tool, "cpu") for tool in TOOLS]
            yield cells(title, *map(seconds, times[:2]), f"{times[1] / times[0]:.1f}", *map(seconds, times[2:]))
        yield ""
        yield ("| memory and size | davit peak | restic peak | borg peak | tar and zstd peak | davit stored | restic stored "
               "| borg stored | tar and zstd stored |")
        yield "|---|" + "--:|" * 8
        for row, title in self._rows():
            yield cells(title, *(mebibytes(self._peak(row, tool)) for tool in TOOLS),
                        *(mebibytes(self._size(row, tool)) for tool in TOOLS))


def cells(*texts):
    return "| " + " | ".join(texts) + " |"


def seconds(value):
    if value is None:
        return ""
    return f"{value:.2f} s" if value >= 1 else f"{value:.3f} s"


def mebibytes(value):
    if value is None:
        return ""
    value /= 1 << 20
    return f"{value:,.0f} MiB" if value >= 100 else f"{value:.1f} MiB"
