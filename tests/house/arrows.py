#!/usr/bin/env python3
"""Fails when an include goes upward or sideways, or when a *_test.cc is in no CMakeLists.txt.

Floors are those of docs/architecture.md. A file may include from its own room and from lower floors;
rooms on one floor do not know each other.
"""
import os
import re
import sys
import tempfile

FLOORS = {
    "volumedriver": {"driver": 6, "jobs": 5, "archive": 4, "restore": 4, "upkeep": 4, "repo": 3,
                     "store": 2, "engine": 2, "crypto": 1, "wire": 1, "capture": 1, "volumes": 1, "base": 0},
    # The plugin's rooms stand above the whole driver; cli is a program of its own and sees only base.
    "plugin": {"daemon": 9, "control": 8, "protocol": 8, "schedule": 7, "http": 7, "cli": 7},
}
ROOM_FLOOR = {room: floor for rooms in FLOORS.values() for room, floor in rooms.items()}
ROOM_FLOOR["daemon"] = 9
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
# The client must stay small and static: of the driver it may use base alone.
CLI_MAY = {"cli", "base"}
# Pure rooms: no HTTP, no store, nothing but base beneath them.
ONLY_BASE = {"http"}


def sources(root):
    for top in FLOORS:
        for directory, _, files in os.walk(os.path.join(root, top)):
            for name in sorted(files):
                if name.endswith((".h", ".cc")):
                    yield top, os.path.join(directory, name)


def check_arrows(root):
    faults = []
    for top, path in sources(root):
        relative = os.path.relpath(path, os.path.join(root, top)).split(os.sep)
        room = relative[0] if len(relative) > 1 else "daemon"
        if room not in FLOORS[top]:
            faults.append(f"{path}: room '{room}' is not in the floor plan")
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                parts = match.group(1).split("/")
                target = parts[0] if len(parts) > 1 else "daemon"
                if target == room:
                    continue
                where = f"{path}:{number}: {room} includes {match.group(1)}"
                if target not in ROOM_FLOOR:
                    faults.append(f"{where}: no such room")
                elif room == "cli" and target not in CLI_MAY:
                    faults.append(f"{where}: the client may use only {sorted(CLI_MAY)}")
                elif room in ONLY_BASE and target != "base":
                    faults.append(f"{where}: {room} may use only base")
                elif ROOM_FLOOR[target] >= ROOM_FLOOR[room]:
                    kind = "sideways" if ROOM_FLOOR[target] == ROOM_FLOOR[room] else "upward"
                    faults.append(f"{where}: goes {kind}")
    return faults


def check_tests_are_built(root):
    faults = []
    for directory, _, files in os.walk(os.path.join(root, "tests")):
        for name in files:
            if not name.endswith("_test.cc"):
                continue
            listing = os.path.join(directory, "CMakeLists.txt")
            text = open(listing, encoding="utf-8").read() if os.path.exists(listing) else ""
            if not re.search(r"(?<![\w/])" + re.escape(name) + r"\b", text):
                faults.append(f"{os.path.join(directory, name)}: in no CMakeLists.txt, so it never runs")
    return faults


def self_test():
    with tempfile.TemporaryDirectory() as root:
        def put(path, text):
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        put("volumedriver/store/a.h", '#include "base/errors.h"\n#include "repo/pack.h"\n')   # upward
        put("volumedriver/archive/b.cc", '#include "restore/sink.h"\n')                        # sideways
        put("plugin/cli/c.cc", '#include "repo/pack.h"\n')                                     # client
        put("volumedriver/repo/d.cc", '#include "store/store.h"\n#include <vector>\n')         # fine
        put("tests/repo/lost_test.cc", "")
        faults = check_arrows(root) + check_tests_are_built(root)
        assert len(faults) == 4, faults
    print("arrows: the four planted faults were found")
    return 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    faults = check_arrows(sys.argv[1]) + check_tests_are_built(sys.argv[1])
    print("\n".join(faults) or "arrows: all includes go downward; every test is built")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
