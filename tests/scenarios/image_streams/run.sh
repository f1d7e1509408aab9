#!/bin/bash
# image_streams: what a real engine's `save` sends goes into a repository and back into the engine, and the container's file
# system is the same; saving it again adds next to nothing; a stream that broke off is refused.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin image-streams

probe=${DAVIT_BUILD:?}/tests/scenarios/image_probe
[ -x "$probe" ] || cannot "no $probe (ninja image_probe)"
export RESTIC_PASSWORD=probe
repository=$WORK/repository
engine_up
engine_import_busybox

# A layer of its own with all that is hard to keep, and 64 MiB that do not compress.
engine run --name changed --network none davit-test/busybox sh -c '
  dd if=/dev/urandom of=/big bs=1M count=64 2>/dev/null; ln /big /again; ln -s ../nowhere /dangling
  rm -r /srv/seed; mkdir /srv/seed; echo new >/srv/seed/new; chown 1000:1000 /srv/seed/new; chmod 4755 /srv/seed/new; rm /etc/group'
commit() { engine commit changed "$1" >/dev/null; }
file_system() { # IMAGE: what a container of it sees
  engine run --rm --network none "$1" sh -c 'cd /; find bin big again dangling etc srv root -exec ls -dln --full-time {} \; | grep -v " etc/\(hosts\|hostname\|resolv.conf\|mtab\)\| etc$"; md5sum big etc/passwd srv/seed/new'
}
commit localhost/davit/changed:1
file_system localhost/davit/changed:1 >"$WORK/before.txt"
assert_contains "$(<"$WORK/before.txt")" "rwsr-xr-x" "the container's file system"

engine save localhost/davit/changed:1 | "$probe" save "$repository" changed >"$WORK/first"
read -r added total <"$WORK/first"
note "first: $added of $total bytes are new"
[ "$added" -gt $((64 << 20)) ] || die "only $added bytes were saved"
engine rmi localhost/davit/changed:1 >/dev/null
assert_fails "" engine run --rm --network none localhost/davit/changed:1 true
"$probe" load "$repository" changed | engine load >&2
file_system localhost/davit/changed:1 | diff "$WORK/before.txt" - >&2 || die "the file system is another"

# Nothing changed but the moment.
commit localhost/davit/changed:2
engine save localhost/davit/changed:2 | "$probe" save "$repository" changed >"$WORK/second"
read -r added total <"$WORK/second"
note "unchanged: $added of $total bytes are new"
[ $((added * 100)) -lt "$total" ] || die "an image that did not change added $added of $total bytes"
"$probe" load "$repository" changed | engine load >&2
file_system localhost/davit/changed:2 | diff "$WORK/before.txt" - >&2 || die "the file system is another"
# A base image of two containers is there once.
engine save davit-test/busybox | "$probe" save "$repository" base >"$WORK/base"
read -r added total <"$WORK/base"
[ $((added * 20)) -lt "$total" ] || die "a base image that was there added $added of $total bytes"

"${RESTIC:-restic}" -r "$repository" --no-cache check --read-data >&2 || die "restic finds fault with the repository"
"${RESTIC:-restic}" -r "$repository" --no-cache ls latest >"$WORK/listed"
grep -q '^/containers/base/image/manifest.json$' "$WORK/listed" || die "restic does not list the image"

# The engine died in the middle.
code=0
engine save localhost/davit/changed:2 2>/dev/null | head -c 30000000 | "$probe" save "$repository" cut 2>"$WORK/refusal" || code=$?
[ $code -ne 0 ] || die "a stream that broke off was saved"
assert_contains "$(<"$WORK/refusal")" "ends in the middle" "the refusal"
assert_fails "no snapshot" "$probe" load "$repository" cut
engine_down
