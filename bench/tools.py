"""The programs that are measured, each with a repository of its own below one directory.

All tools save the same directory: that of a volume of davit's. Every method that works returns its Measurement.
"""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

from measure import measure

PASSWORD = "benchmark"
VOLUME, RESTORED = "bench", "restored"


def remove(*directories):
    for directory in directories:
        if directory.exists():
            subprocess.run(["rm", "-rf", directory], check=True)


def tree_bytes(directory):
    total = 0
    for path, _, names in os.walk(directory):
        total += sum(os.lstat(os.path.join(path, name)).st_size for name in names)
    return total


class Tool:
    """`state`: all directories that are the tool's own, and that a copy of it needs."""
    name = ""
    state = ()

    def stored(self):
        return tree_bytes(self.repository)

    def keep(self):
        """Puts the state aside, so that again() finds it as it is now, any number of times."""
        for directory in self.state:
            directory.rename(f"{directory}.kept")

    def again(self):
        remove(*self.state)
        for directory in self.state:
            subprocess.run(["cp", "-a", f"{directory}.kept", directory], check=True)

    def end(self):
        remove(*self.state, *(pathlib.Path(f"{directory}.kept") for directory in self.state))


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("davit", timeout=60)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Davit(Tool):
    """Through its daemon and its client, as shipped and with the settings it comes with, but no schedules and no engine."""
    name = "davit"

    def __init__(self, work, build):
        self.client, self.program = build / "bin" / "davit", build / "plugin" / "davitd"
        self.data, self.socket, self.log = work / "davit", work / "davit.plugin.sock", work / "davit.log"
        self.repository, self.volumes = self.data / "repository", self.data / "volumes"
        self.state = (self.data,)
        self.environment = {**os.environ, "DAVIT_SOCKET": str(self.data / "davit.sock")}
        self.settings = {}  # beside the defaults
        self._daemon = None

    @property
    def volume(self):
        return self.volumes / VOLUME

    def begin(self, **options):
        """A new installation with a volume."""
        self.end()
        self._start()
        self.make_volume(**options)

    def make_volume(self, **options):
        self._call("Create", Name=VOLUME, Opts={"final-backup": "off", **options})

    def keep(self):
        self._stop()
        super().keep()

    def again(self):
        self._stop()
        super().again()
        self._start()
        self.run("snapshots")  # the daemon has been running for long: it knows the repository

    def end(self):
        self._stop()
        super().end()

    def run(self, *arguments):
        return measure([self.client, "-q", *arguments], environment=self.environment, daemon=self._daemon.pid)

    def backup(self, source):
        assert source == self.volume
        return self.run("backup", VOLUME)

    def restore(self):
        return self.run("restore", VOLUME, "--as", RESTORED, "-o", "final-backup=off"), self.volumes / RESTORED

    def remove_restored(self):
        self._call("Remove", Name=RESTORED)
        while any((self.data / "removed").iterdir()):
            time.sleep(0.01)

    def check_read_data(self):
        return self.run("check", "--read-data")

    def forget_oldest(self, count):
        listed = [json.loads(line) for line in self.run("snapshots", "--json").output.splitlines()]
        snapshots = sorted((line["time"], line["id"]) for line in listed if line["message_type"] == "snapshot")
        return self.run("forget", *(snapshot for _, snapshot in snapshots[:count]))

    def prune(self):
        return self.run("prune")

    def _start(self):
        with open(self.log, "wb") as log:
            self._daemon = subprocess.Popen(
                [self.program], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "DAVIT_DATA": str(self.data), "DAVIT_PLUGIN_SOCKET": str(self.socket),
                     "DAVIT_STATE": "off", "DAVIT_SCHEDULE": "off", "DAVIT_PRUNE_SCHEDULE": "off",
                     "DOCKER_HOST": f"unix://{self.data}/no-engine.sock", **self.settings})
        for _ in range(1000):
            try:
                return self._call("List")
            except OSError:
                if self._daemon.poll() is not None:
                    break
                time.sleep(0.01)
        sys.exit(f"davitd does not answer:\n{self.log.read_text()}")

    def _stop(self):
        if self._daemon:
            self._daemon.send_signal(signal.SIGTERM)
            self._daemon.wait()
            self._daemon = None

    def _call(self, name, **arguments):
        connection = UnixConnection(self.socket)
        connection.request("POST", f"/VolumeDriver.{name}", json.dumps(arguments))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        if answer["Err"]:
            sys.exit(f"{name} {arguments}: {answer['Err']}")


class Restic(Tool):
    """Its cache is warm wherever it is in ordinary use: it begins with the repository."""
    name = "restic"

    def __init__(self, work, program):
        self.program, self.target = program, work / "restic-restored"
        self.repository, self.cache, self.temporary = work / "restic", work / "restic-cache", work / "restic-tmp"
        self.state = (self.repository, self.cache, self.temporary)
        self.environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(self.cache),
                            "TMPDIR": str(self.temporary)}

    def run(self, *arguments):
        return measure([self.program, "-q", "-r", self.repository, *arguments], environment=self.environment)

    def begin(self):
        self.end()
        self.temporary.mkdir()
        self.run("init", "--repository-version", "2")

    def backup(self, source):
        self._saved = source
        return self.run("backup", source)

    def restore(self):
        return self.run("restore", "latest", "--target", self.target), self.target / self._saved.relative_to("/")

    def remove_restored(self):
        remove(self.target)

    def check_read_data(self):
        return self.run("check", "--read-data")

    def forget_oldest(self, count):
        snapshots = sorted((line["time"], line["id"]) for line in json.loads(self.run("snapshots", "--json").output))
        return self.run("forget", *(snapshot for _, snapshot in snapshots[:count]))

    def prune(self):
        return self.run("prune")


class Borg(Tool):
    """Encrypted (repokey-blake2) and compressed with zstd at borg's default level, 3."""
    name = "borg"

    def __init__(self, work):
        self.repository, self.base, self.target = work / "borg", work / "borg-base", work / "borg-restored"
        self.state = (self.repository, self.base)
        self.environment = {**os.environ, "BORG_PASSPHRASE": PASSWORD, "BORG_BASE_DIR": str(self.base),
                            "BORG_REPO": str(self.repository)}

    def begin(self):
        self.end()
        self.base.mkdir()
        self._archives = 0
        self._run("init", "-e", "repokey-blake2")

    def _run(self, *arguments, directory=None):
        return measure(["borg", *arguments], environment=self.environment, directory=directory)

    def backup(self, source):
        self._archives += 1
        return self._run("create", "-C", "zstd", f"::{self._archives}", ".", directory=source)

    def restore(self):
        self.target.mkdir()
        return self._run("extract", f"::{self._archives}", directory=self.target), self.target

    def remove_restored(self):
        remove(self.target)


class Tar(Tool):
    """tar | zstd -3 -T0: no encryption, no deduplication, one file."""
    name = "tar"

    def __init__(self, work):
        self.repository, self.target = work / "tar", work / "tar-restored"
        self.archive = self.repository / "archive.tar.zst"
        self.state = (self.repository,)

    def begin(self):
        self.end()
        self.repository.mkdir()

    def backup(self, source):
        return measure(["tar", "-C", source, "-cf", "-", "."], ["zstd", "-q", "-f", "-3", "-T0", "-o", self.archive])

    def restore(self):
        self.target.mkdir()
        return measure(["zstd", "-q", "-d", "-c", self.archive], ["tar", "-C", self.target, "-xf", "-"]), self.target

    def remove_restored(self):
        remove(self.target)
