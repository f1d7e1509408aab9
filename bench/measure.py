"""Runs commands and measures them: wall time, processor time, peak of anonymous memory. The same way for every tool.

A tool may have a daemon, which works for the command: its processor time and memory count, too. Memory is RssAnon of all
these processes together, looked at every 5 ms: pages of mapped files are the kernel's to take back, and not counted. A
peak that is shorter than that can be missed.
"""
import os
import subprocess
import sys
import tempfile
import threading
import time

INTERVAL_SECONDS = 0.005


class Measurement:
    def __init__(self, wall, cpu, peak_bytes, output=""):
        self.wall, self.cpu, self.peak_bytes, self.output = wall, cpu, peak_bytes, output


class Watch:
    """Looks at the processes' memory from its making until end()."""

    def __init__(self, pids):
        self._files = [os.open(f"/proc/{pid}/status", os.O_RDONLY) for pid in pids]
        self._done = threading.Event()
        self.peak_bytes = self._now()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def end(self):
        self._done.set()
        self._thread.join()
        for file in self._files:
            os.close(file)
        return self.peak_bytes

    def _look(self):
        while not self._done.wait(INTERVAL_SECONDS):
            self.peak_bytes = max(self.peak_bytes, self._now())

    def _now(self):
        total = 0
        for file in self._files:
            try:
                text = os.pread(file, 4096, 0)
            except ProcessLookupError:
                continue
            at = text.find(b"RssAnon:")  # a process that has ended has no such line
            if at >= 0:
                total += int(text[at + 8:text.index(b"kB", at)]) << 10
        return total


def processor_seconds(pid):
    """Of all threads that the process has and had (CPUCLOCK_SCHED of its thread group)."""
    return time.clock_gettime((~pid << 3) | 2)


def processor_seconds_when_idle(pid):
    """What a daemon does after its answer is of its work, too."""
    before = processor_seconds(pid)
    while True:
        time.sleep(0.05)
        now = processor_seconds(pid)
        if now - before < 0.001:
            return now
        before = now


def touch_memory(directory, size_bytes):
    """What the next command will fill. A virtual machine may get its memory from its host at the first touch only, which
    costs seconds a GiB, and give back within seconds what is free: not in a row, and not one tool's cost only."""
    block = bytes(4 << 20)
    path = directory / "touched"
    with open(path, "wb") as file:
        for _ in range(size_bytes // len(block)):
            file.write(block)
    path.unlink()


def measure(*commands, environment=None, directory=None, daemon=None, stdin=None):
    """The commands as one pipeline, to the end of all; `stdin` a path or nothing, `daemon` a pid. Ends this program if one fails."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors, open(stdin or os.devnull, "rb") as source:
        daemon_before = processor_seconds_when_idle(daemon) if daemon else 0
        start = time.monotonic()
        processes = []
        for command in commands:
            is_last = len(processes) + 1 == len(commands)
            processes.append(subprocess.Popen(
                [str(word) for word in command], stdin=processes[-1].stdout if processes else source,
                stdout=out if is_last else subprocess.PIPE, stderr=errors, env=environment, cwd=directory))
            if len(processes) > 1:
                processes[-2].stdout.close()
        watch = Watch([process.pid for process in processes] + ([daemon] if daemon else []))
        cpu = 0
        for process in processes:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
        wall = time.monotonic() - start
        peak = watch.end()
        if daemon:
            cpu += processor_seconds_when_idle(daemon) - daemon_before
        out.seek(0)
        errors.seek(0)
        text, complaint = out.read().decode(errors="replace"), errors.read().decode(errors="replace")
    for command, process in zip(commands, processes):
        if process.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}: exit {process.returncode}\n{text[-2000:]}{complaint[-2000:]}")
    return Measurement(wall, cpu, peak, text)
