#!/bin/bash
# images.sh MEGABYTES RUN: a container on an image of so many megabytes: `davit backup --container` and `davit restore` beside
# `docker commit`, `docker save | zstd` and `zstd -d | docker load`, each through the same private engine (DAVIT_ENGINE). RUN
# is a number: the odd ones begin with davit. Prints lines of JOB, TOOL, SECONDS and BYTES (that it stored), with tabs between.
. "$(dirname "$0")/../tests/engines/engine.sh"
megabytes=$1 run=$2
scenario_begin bench-images

engine_up
engine_import_large "$megabytes" davit-bench/large
davit_up DAVIT_SCHEDULE=off
archive=$WORK/image.tar.zst
reference=localhost/davit-bench/app:saved

measure() { # JOB TOOL COMMAND…: what was stored is the growth of $stored
  local job=$1 tool=$2 before began ended
  shift 2
  before=$(size)
  began=$EPOCHREALTIME
  "$@"
  ended=$EPOCHREALTIME
  awk -v OFS='\t' -v job="$job" -v tool="$tool" -v began="$began" -v ended="$ended" -v bytes=$(($(size) - before)) \
    'BEGIN { printf "%s\t%s\t%.3f\t%d\n", job, tool, ended - began, bytes }'
}
size() { { find "$stored" -type f -printf '%s\n' 2>/dev/null || true; } | awk '{ sum += $1 } END { print sum + 0 }'; }

save() { engine save $reference | zstd -q -f -3 -T0 -o "$archive"; }
load() { zstd -d -q -c "$archive" | engine load >/dev/null; }
commit() { engine commit app $reference >/dev/null; }
create() { engine create --name app --network none $reference >/dev/null; }
differences() { engine diff app >/dev/null; }
drain() { engine save $reference | cat >/dev/null; }

with_davit() { # JOB
  stored=$(davit_data)/repository
  measure "$1" davit davit -q backup --container app
}
by_hand() { # JOB
  stored=$archive
  rm -f "$archive"
  measure "$1" commit commit
  measure "$1" zstd save
  measure "$1" save drain
  measure "$1" changes differences
  engine rmi $reference >/dev/null
}
both() { # JOB
  if [ $((run % 2)) = 1 ]; then with_davit "$1"; by_hand "$1"; else by_hand "$1"; with_davit "$1"; fi
}

engine run -d --stop-timeout 1 --name app --network none davit-bench/large >/dev/null
engine exec app /bin/busybox sh -c 'echo changed >/changed; /bin/busybox head -c 2000000 /dev/urandom >/random'
both "container of ${megabytes} MB"
both "the same, unchanged"

# Nothing of the image is left in the engine, so that every layer is unpacked.
engine rm -f app >/dev/null
nothing_left() {
  local images
  images=$(engine images -q -a)
  # shellcheck disable=SC2086 # a list of words
  [ -z "$images" ] || engine rmi -f $images >/dev/null
}
restore_davit() {
  nothing_left
  stored=/dev/null
  measure "image and container again" davit davit -q restore --container app
  engine rm -f app >/dev/null
}
restore_by_hand() {
  nothing_left
  stored=/dev/null
  measure "image and container again" zstd load
  measure "image and container again" commit create
  engine rm -f app >/dev/null
}
if [ $((run % 2)) = 1 ]; then restore_davit; restore_by_hand; else restore_by_hand; restore_davit; fi
