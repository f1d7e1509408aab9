#!/bin/bash
# Crashes: of the daemon, of the engine, of the machine, and a daemon that is switched off under its containers. No volume is lost, none
# loses its labels, and containers go on.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin engine-faults

engine_up
engine_import_busybox
davit_up DAVIT_SCHEDULE=off
engine volume create --driver davit --label keep=me data >/dev/null
engine volume create --driver davit second >/dev/null
fill data one
davit backup data
tree_manifest "$(volume_directory data)" >"$WORK/before"
engine run -d --stop-timeout 1 --name user --restart always --network none -v data:/v davit-test/busybox sleep 100000 >/dev/null

whole() { # WHEN: everything is still there
  assert_eq "$(engine volume inspect -f '{{index .Labels "keep"}}' data)" me "label of the volume $1"
  assert_eq "$(engine volume ls -q --filter name=data --filter name=second | sort | tr '\n' ' ')" "data second " "volumes $1"
  tree_manifest "$(volume_directory data)" >"$WORK/after"
  diff "$WORK/before" "$WORK/after" >&2 || die "the volume changed: $1"
  assert_eq "$(engine run --rm --network none -v data:/v davit-test/busybox cat /v/dir/7)" "one 7" "another container's view $1"
}
user_sees() { engine exec user cat /v/dir/7 | grep -q 'one 7'; }

note "kill -9 of the daemon"
davit_kill
whole "after a crash of the daemon"
wait_until 30 "the container that uses the volume" user_sees

note "kill -9 in the midst of a backup"
head -c 300000000 /dev/urandom >"$(volume_directory second)/large"
davit backup second >"$WORK/backup.out" 2>&1 &
backup=$!
running() { davit_json status -- 'select(.name == "second") | .running.phase' | grep -q saving; }
wait_until 30 "the backup" running
davit_kill
if wait $backup; then note "the backup ended before the crash"; fi
davit backup second >&2
repository_restic check --read-data >&2
whole "after a crash in a backup"

if engine_is docker; then
  note "kill -9 of the engine"
  engine_kill
  engine_start
  wait_until 30 "the daemon's answer" davit status
  whole "after a crash of the engine"
  wait_until 60 "the container that uses the volume" user_sees

  note "disable -f, enable"
  engine plugin disable -f davit >/dev/null
  assert_fails "" engine run --rm --network none -v data:/v davit-test/busybox true
  user_sees || die "a running container lost its volume when the plugin was switched off"
  engine plugin enable --timeout 0 davit >/dev/null
  wait_until 30 "the daemon's answer" davit status
  whole "after disable -f and enable"
fi

note "a power cut"
machine_run sync
engine_reboot
if engine_is podman; then
  davit_tell_podman
  podman_service_up
  davit_start
fi
wait_until 60 "the daemon's answer" davit status
engine start user >/dev/null 2>&1 || true
whole "after a power cut"
wait_until 60 "the container that uses the volume" user_sees
