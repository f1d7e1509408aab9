#!/usr/bin/env python3
"""Where davit's daemon spends its processor time, row by row of run.py's table: the symbols that perf finds in it.

Runs davit alone, each row once, and prints the libraries, threads and symbols of each, with the seconds of processor time that they come
to. Needs perf, and the right to use it.
"""
import argparse
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from jobs import GROUPS
from run import HERE
from tools import Davit


class ProfiledDavit(Davit):
    def __init__(self, work, build):
        super().__init__(work, build)
        self.profile = work / "perf.data"

    def run(self, *arguments):
        perf = subprocess.Popen(["perf", "record", "-q", "-F", "999", "-p", str(self._daemon.pid), "-o", self.profile],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not self.profile.exists() or self.profile.stat().st_size == 0:
                if perf.poll() is not None:
                    raise SystemExit("perf does not run here")
            before = self._faults()
            measurement = super().run(*arguments)
            measurement.faults = self._faults() - before
            return measurement
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()
            self.profile.rename(f"{self.profile}.last")

    def _faults(self):
        """Of pages: memory that is taken from the kernel and given back again and again shows here."""
        return int(pathlib.Path(f"/proc/{self._daemon.pid}/stat").read_text().rpartition(")")[2].split()[7])


class Profiles:
    """Stands where run.py has its table."""

    def __init__(self, work):
        self._work = work

    def add(self, row, title, tool, measurement, size=None):
        print(f"\n## {row}: {title}\n\n{measurement.wall:.2f} s wall, {measurement.cpu:.2f} s of processor time, "
              f"{measurement.peak_bytes / (1 << 20):.0f} MiB, "
              f"{measurement.faults:,} page faults\n\n```")
        for fields, limit in (("dso", 1), ("pid", 5), ("dso,symbol", 1)):
            for symbol, share in sorted(self._shares(fields).items(), key=lambda pair: -pair[1]):
                if share >= limit:
                    print(f"{share:6.1f} % {share / 100 * measurement.cpu:6.2f} s  {symbol}")
            print()
        print("```", flush=True)

    def _shares(self, fields):
        report = subprocess.run(["perf", "report", "-i", self._work / "perf.data.last", "--stdio", "-F", f"overhead,{fields}",
                                 "-w", "0,0,0"], check=True, capture_output=True, text=True).stdout
        shares = {}
        for line in report.splitlines():
            if line.strip() and not line.startswith("#"):
                share, rest = line.split(maxsplit=1)
                # Where a library has no symbols, those of one page are one.
                symbol = re.sub(r"(0x[0-9a-f]+)[0-9a-f]{3}$", r"\g<1>000 and on", " ".join(rest.split()))
                shares[symbol] = shares.get(symbol, 0) + float(share.rstrip("%"))
        return shares


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build" / "release")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1, help="the share of the data that is measured")
    parser.add_argument("--only", nargs="+", choices=GROUPS, help="groups of the table's rows")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/dev/shm"))
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-", dir=options.work))
    try:
        build = options.build.resolve()
        for name in options.only or GROUPS:
            GROUPS[name]([ProfiledDavit(work, build)], work, build / "bench" / "davit-bench-data", Profiles(work), options.scale,
                         options.seed).measure(1)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
