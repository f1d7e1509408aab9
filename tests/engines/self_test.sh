#!/bin/bash
# self_test.sh: brings up the engine DAVIT_ENGINE names, runs a container, kills, restarts and reboots, and takes it all down.
. "$(dirname "$0")/engine.sh"
scenario_begin engine-self-test

engine_up
engine version >"$WORK/version"
cat "$WORK/version" >&2
engine_import_busybox
mkdir -m 777 "$WORK/shared"
assert_eq "$(engine run --rm --network none davit-test/busybox echo hello)" hello "output of a container"
engine run --rm --network none -v "$WORK/shared:/s" davit-test/busybox sh -c 'echo out >/s/file'
assert_eq "$(<"$WORK/shared/file")" out "a file written through a bind mount of the scenario's directory"
assert_fails "" engine run --rm --network none davit-test/busybox false

engine volume create kept >/dev/null
engine run --rm --network none -v kept:/v davit-test/busybox sh -c 'echo 1 >/v/file'
engine_kill
engine_start
assert_eq "$(engine run --rm --network none -v kept:/v davit-test/busybox cat /v/file)" 1 "a volume after kill -9 of the engine"
engine run -d --name sleeper --network none davit-test/busybox sleep 600 >/dev/null
engine_reboot
assert_eq "$(engine inspect -f '{{.State.Running}}' sleeper)" false "state of a container after a power cut"
engine rm -f sleeper >/dev/null
assert_eq "$(engine run --rm --network none -v kept:/v davit-test/busybox cat /v/file)" 1 "a volume after a power cut"

if engine_is docker; then
  engine_registry_up
  engine tag davit-test/busybox 127.0.0.1:5000/busybox
  engine push -q 127.0.0.1:5000/busybox >/dev/null
else
  podman_service_up
  engine_stop
fi
machine=$(<"$ENGINE/init.pid")
engine_down
assert_fails "" kill -0 "$machine"
