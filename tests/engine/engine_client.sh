#!/bin/bash
# engine_client.sh: our client of the engine's API against the real engine that DAVIT_ENGINE names.
. "$(dirname "$0")/../engines/engine.sh"
scenario_begin engine-client

probe=${DAVIT_BUILD:?}/tests/engine/engine_probe
[ -x "$probe" ] || cannot "no $probe (ninja engine_probe)"
engine_up
engine_import_busybox
if engine_is docker; then
  socket=/run/docker.sock kind=docker
else
  podman_service_up
  socket=$(podman_socket) kind=podman
fi
# The machine's own socket, seen from here.
see() {
  local seen
  seen=$("$probe" "unix:///proc/$(<"$ENGINE/init.pid")/root$socket" "$1") || exit
  head -n 1 <<<"$seen"
  tail -n +2 <<<"$seen" | sort
}

engine volume create data >/dev/null
engine volume create database >/dev/null
busybox() { engine run -d --network none "$@" davit-test/busybox sleep 600 >/dev/null; }
busybox --name runs -v data:/data -l com.docker.compose.project=shop
busybox --name unrelated -v database:/data
engine create --name never-ran --network none -v data:/d davit-test/busybox true >/dev/null

assert_eq "$(see data)" "$kind
never-ran created - 64
runs running shop 64" "containers of the volume"
assert_eq "$(see nobody)" "$kind" "containers of a volume that nobody uses"
engine stop -t 0 runs >/dev/null
assert_eq "$(see data | grep ^runs)" "runs exited shop 64" "a container that was stopped"
engine_down
