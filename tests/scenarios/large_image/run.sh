#!/bin/bash
# What a large image costs in the repository: a commit of one that did not change adds under 1 %, each further container on
# the same base image under 2 %. All that lies in the repository counts. The image has 600 MB with DAVIT_SOAK=1, else 120 MB.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin large-image

megabytes=120
[ "${DAVIT_SOAK:-}" != 1 ] || megabytes=600
engine_up
engine_import_large $megabytes davit-test/large
davit_up DAVIT_SCHEDULE=off

run() { # NAME: a container with a small change of its own
  engine run -d --stop-timeout 1 --name "$1" --network none davit-test/large >/dev/null
  engine exec "$1" /bin/busybox sh -c "echo $1 >/changed; /bin/busybox head -c 200000 /dev/urandom >/random"
}
bytes() { find "$(davit_data)/repository" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }'; }
share() { awk -v part="$1" -v of="$2" 'BEGIN { printf "%.3f %%", 100 * part / of }'; }
grows() { # CONTAINER: backs it up; how much larger the repository is
  local before seconds=$EPOCHREALTIME
  before=$(bytes)
  davit -q backup -c "$1"
  note "backup of $1: $(awk -v from="$seconds" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }') s"
  echo $(($(bytes) - before))
}
is_under() { # PERCENT WHAT BYTES
  note "$2 adds $3 bytes, $(share "$3" "$first") of the first"
  [ $(($3 * 100)) -lt $((first * $1)) ] || die "$2 adds $3 bytes, $1 % or more of $first"
}

note "an image that did not change"
run one
first=$(grows one)
note "the first commit of $megabytes MB adds $first bytes; restic counts $(repository_restic stats --mode raw-data --json | jq .total_size)"
[ "$first" -gt $((megabytes * 100000)) ] || die "the image is not in the repository"
is_under 1 "a second commit" "$(grows one)"
is_under 1 "a third commit" "$(grows one)"

note "five containers on one base"
for name in two three four five; do
  run $name
  is_under 2 "the container $name" "$(grows $name)"
done

# In containerd's store the tar of a deleted file carries the moment of the commit, and gzip goes on differently from there. So
# the container's own layer may be new each time, but nothing of the image below it.
note "a container that deleted files of the image"
engine exec one /bin/busybox rm -r /usr/share /usr/bin
grows one >/dev/null
second=$(grows one)
is_under 1 "a second commit after files were deleted" "$second"
note "a container that deleted files, and wrote 5 % of the image's size"
engine exec one /bin/busybox sh -c "/bin/busybox head -c $((first / 20)) /dev/urandom >/usr/written"
grows one >/dev/null
second=$(grows one)
if engine_is containerd; then
  note "a second commit adds $second bytes, $(share "$second" "$first") of the first, $(share "$second" $((first / 20))) of what was written"
  [ "$second" -lt $((first / 20 + first / 100)) ] || die "more than the container's own layer is new: $second bytes"
else
  is_under 1 "a second commit" "$second"
fi

repository_restic check >&2
note "at last restic counts $(repository_restic stats --mode raw-data --json | jq .total_size) bytes of $(bytes) in the repository"
