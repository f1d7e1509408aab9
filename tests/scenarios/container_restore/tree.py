#!/usr/bin/env python3
"""Describes a container's root file system from the tar of its export, one sorted line for each entry.

Names of one file (hard links) are described by all its names, whichever came first in the stream. What engines put
there themselves is left out.
"""
import hashlib
import sys
import tarfile

# Written by the engine at each start, and the mount points of the machine.
ENGINES = {".dockerenv", "run/.containerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "run"}
TREES = ("dev", "proc", "sys")


def main():
    files, links = {}, {}
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./").strip("/") or "."
            if name in ENGINES or name.split("/")[0] in TREES:
                continue
            if member.islnk():
                links.setdefault(member.linkname.removeprefix("./").strip("/"), []).append(name)
                continue
            digest = ""
            if member.isreg():
                digest = hashlib.sha256(archive.extractfile(member).read()).hexdigest()[:16]
            xattrs = sorted((k, v) for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr."))
            # Directories in which the engine makes mount points have times of its own.
            mtime = "" if member.isdir() else int(member.mtime)
            files[name] = (member.type.decode(), oct(member.mode & 0o7777), member.uid, member.gid, member.size, mtime,
                           member.linkname, member.devmajor, member.devminor, digest, xattrs)
    for name, entry in sorted(files.items()):
        print(name, *entry, "=", *sorted([name] + links.pop(name, [])))
    for target, names in sorted(links.items()):
        print("link to what is not there:", target, names)


main()
