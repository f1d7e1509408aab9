#!/bin/bash
# Containers are committed on schedule with their volumes, as one point; nothing of it stays in the engine, whoever is killed
# in the middle; what did not change costs nothing.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin commit

DOCKERD_ARGS=--live-restore # so that containers, and their pauses, outlive the engine
engine_up
engine_import_busybox
davit_up DAVIT_SCHEDULE=off

run() { # NAME ARGUMENT…: a container that is committed
  local name=$1
  shift
  engine run -d --stop-timeout 1 --name "$name" --network none -l davit.commit=true "$@" >/dev/null
}

of_container() { davit_json snapshots -- "select(.message_type == \"snapshot\" and .container == \"$1\") | .short_id"; }
has_commits() { [ "$(of_container "$1" | wc -l)" -ge "$2" ]; } # NAME COUNT
idle() { [ -z "$(davit_json status -- 'select(.running) | .name')" ]; }
images() { engine images --format '{{.Repository}}:{{.Tag}}' | grep -E '(^|/)davit/' || true; }
no_trace() { [ -z "$(images)" ] && [ -z "$(engine images -q -f dangling=true)" ]; }
is_paused() { [ "$(engine inspect -f '{{.State.Status}}' "$1")" = paused ]; }
goes_on() { [ "$(engine inspect -f '{{.State.Status}}' "$1")" = running ]; }
phase() { davit_json status -- "select(.message_type == \"container\" and .name == \"$1\") | .running.phase // empty"; }
in_phase() { [ "$(phase "$1")" = "$2" ]; }
added() { davit_json backup "$@" -- 'select(.container) | .data_added'; }

note "on schedule, with its volume, as one point"
engine volume create --driver davit data >/dev/null
run app -v data:/v davit-test/busybox sleep 100000
engine exec app sh -c 'echo in the volume >/v/file; echo changed >/etc/changed; head -c 30000000 /dev/urandom >/blob'
# containerd writes the moment of the commit into the tar of a deleted file (docs/protocol.md): no two layers are the same then.
engine_is containerd || engine exec app rm /srv/seed/file
davit config set --volume data schedule '*/5 * * * * *' >/dev/null
wait_until 120 "a commit on schedule" has_commits app 1
davit config set --volume data schedule off >/dev/null
wait_until 120 "the end of all jobs" idle
id=$(of_container app | head -n 1)
point=$(davit_json snapshots -- "select(.short_id == \"$id\") | .point")
assert_eq "$(davit_json snapshots -- "select(.point == \"$point\") | \"\(.volume)/\(.container // \"\") \(.time)\"" | cut -d ' ' -f 1 | sort | tr '\n' ' ')" \
  "/app data/ " "the pieces of the point"
assert_eq "$(davit_json snapshots -- "select(.point == \"$point\") | .time" | sort -u | wc -l)" 1 "moments of one point"
assert_contains "$(davit_json snapshots -- "select(.short_id == \"$id\") | .tags | join(\" \")")" volume:data "tags"
no_trace || die "an image is left: $(images)"
goes_on app || die "the container does not go on"
dump() { repository_restic dump "$id" "/containers/app/$1"; }
assert_contains "$(dump container.json | jq -r .Name)" app "the inspect document"
assert_eq "$(dump davit.json | jq -r .point)" "$point" "davit.json"
assert_contains "$(dump changes.json | jq -r '.[].Path')" /etc/changed "the paths that it changed"
if engine_is podman || machine_run sh -c 'command -v ps' >/dev/null; then # Docker runs the host's ps
  dump top.json | jq -e . >/dev/null || die "no list of processes"
fi
dump image/manifest.json | jq -e '.[0].Layers | length > 1' >/dev/null || die "the image's manifest"
assert_contains "$(davit status)" "with data" "status"

note "a second commit adds next to nothing"
size=$(davit_json snapshots -- "select(.short_id == \"$id\") | .summary.total_bytes_processed")
second=$(added data)
note "added $second of $size bytes"
[ "$second" -lt $((size / 100)) ] || die "a second commit added $second bytes of $size"

note "a base image that several containers share is stored once"
mkdir -p "$WORK/base/bin"
cp "$(command -v busybox)" "$WORK/base/bin/busybox"
head -c 40000000 /dev/urandom >"$WORK/base/large"
tar -C "$WORK/base" -cf "$WORK/base.tar" .
engine import "$WORK/base.tar" davit-test/large >/dev/null
for i in 1 2 3 4 5; do run "shared$i" davit-test/large /bin/busybox sleep 100000; done
first=$(added -c shared1)
[ "$first" -gt 40000000 ] || die "the first one added only $first bytes"
for i in 2 3 4 5; do
  more=$(added -c "shared$i")
  [ "$more" -lt 400000 ] || die "the image is stored again for shared$i: $more bytes"
done
no_trace || die "an image is left: $(images)"
engine rm -f shared1 shared2 shared3 shared4 shared5 >/dev/null

note "images that a container asks to be kept"
run kept -l davit.keep-images=1 davit-test/busybox sleep 100000
davit -q backup -c kept
davit -q backup -c kept
assert_eq "$(images | wc -l)" 1 "kept images"
engine rmi "$(images)" >/dev/null
engine rm -f kept >/dev/null

note "the engine is killed while it commits"
run big davit-test/busybox sleep 100000
engine exec big sh -c 'head -c 250000000 /dev/urandom >/blob'
survives() { # WHAT: nothing is left, the container goes on, and the next run succeeds
  wait_until 200 "the container to go on $1" goes_on big
  wait_until 200 "no image of a commit $1" no_trace
  davit -q backup -c big
  no_trace || die "an image is left $1: $(images)"
  goes_on big || die "the container does not go on $1"
}
engine_again() {
  engine_start
  if engine_is podman; then podman_service_up; fi
  wait_until 60 "the daemon's answer" davit status
  goes_on big || is_paused big || engine start big >/dev/null # an engine may stop what ran when it was killed
}
davit -q backup -c big >"$WORK/backup.out" 2>&1 &
backup=$!
wait_until 60 "a commit that is under way" in_phase big committing
engine_kill
if wait $backup; then note "the commit ended before the engine did"; fi
engine_again
survives "after the engine was killed in a commit"

note "the engine is killed while the image is saved"
engine exec big sh -c 'head -c 250000000 /dev/urandom >/blob'
davit -q backup -c big >"$WORK/backup.out" 2>&1 &
backup=$!
wait_until 60 "an image that is being saved" in_phase big saving
engine_kill
if wait $backup; then note "the image was saved before the engine ended"; fi
engine_again
survives "after the engine was killed in a save"

for phase in committing saving; do
  note "davit is killed while it is $phase"
  engine exec big sh -c 'head -c 250000000 /dev/urandom >/blob'
  davit -q backup -c big >"$WORK/backup.out" 2>&1 &
  backup=$!
  wait_until 60 "$phase" in_phase big $phase
  davit_kill
  if wait $backup; then note "the backup ended before"; fi
  survives "after davit was killed while $phase"
done

for RESTIC_VERSION in 0.14 0.18; do repository_restic check --read-data >&2; done
