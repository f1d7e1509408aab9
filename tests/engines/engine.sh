# shellcheck shell=bash
# Private container engines for tests and the demo: the same words for each of them.
#
#   DAVIT_ENGINE   docker-20.10 (default) | docker-26.1 | docker-26.1-containerd | podman-4.3 | podman-5.4 |
#                  podman-4.3-rootless | podman-5.4-rootless
#                  The older ones are the host's own packages (whatever their version), the newer ones come from Debian 13.
#                  …-containerd: with containerd's image store instead of the graph drivers'.
#   ENGINE         directory of the engine's machine (machine.sh), below the scenario's directory WORK
#
#   scenario_begin NAME           makes WORK, takes everything down at exit, shows the logs if it failed
#   engine_up / engine_down       machine and engine; down leaves the data
#   engine ARGUMENT…              the engine's command line: docker … or podman …
#   engine_stop, engine_kill, engine_start    the daemon alone: gracefully, kill -9, again on the same data
#   engine_reboot                 a power cut, then everything up again
#   engine_import_busybox / engine_import_postgres    images davit-test/busybox, davit-test/postgres
#   engine_registry_up            a registry on 127.0.0.1:5000 of the machine
#   engine_is docker|podman|rootless|containerd
# docker.sh and podman.sh say what differs; davit.sh has the words for davit on an engine.

here=$(dirname "${BASH_SOURCE[0]}")
for part in common machine images docker podman davit; do
  # shellcheck source=/dev/null
  . "$here/$part.sh"
done
DAVIT_ENGINE=${DAVIT_ENGINE:-docker-20.10}
TEST_UID=7777 # the rootless user, known inside the machine only

engine_is() {
  case $1:$DAVIT_ENGINE in
    docker:docker-* | podman:podman-* | rootless:*-rootless | containerd:*-containerd) return 0 ;;
    *) return 1 ;;
  esac
}

# engine_tree: the root file system of the engine's machine; nothing printed means the host's.
engine_tree() {
  case $DAVIT_ENGINE in
    docker-20.10 | podman-4.3 | podman-4.3-rootless) ;;
    docker-26.1 | docker-26.1-containerd | podman-5.4 | podman-5.4-rootless) cached debian-13 build_debian13 ;;
    *) die "unknown engine DAVIT_ENGINE=$DAVIT_ENGINE" ;;
  esac
}

engine_up() {
  local tree
  tree=$(engine_tree) || exit
  machine_up "$tree"
  engine_start
}

engine_down() { machine_down; }

engine_reboot() {
  machine_down
  machine_up "$(<"$ENGINE/tree")"
  engine_start
}

engine() { if engine_is docker; then docker_cli "$@"; else podman_cli "$@"; fi; }
engine_start() { if engine_is docker; then docker_start; else podman_start; fi; }
engine_stop() { if engine_is docker; then machine_signal dockerd TERM; else machine_signal podman-service TERM; fi; }
engine_kill() { if engine_is docker; then machine_signal dockerd KILL; else machine_signal podman-service KILL; fi; }

engine_registry_up() {
  command -v docker-registry >/dev/null || cannot "no docker-registry (scripts/packages.sh test)"
  mkdir -p "$ENGINE/registry"
  cat >"$ENGINE/registry.yml" <<C
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $ENGINE/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:5000"}
C
  # The host's program, in the machine's network and process space only: a tree need not hold one.
  nsenter -t "$(<"$ENGINE/init.pid")" -n -p -- setsid -f docker-registry serve "$ENGINE/registry.yml" \
    >>"$ENGINE/registry.log" 2>&1 </dev/null
  wait_until 30 "the registry" nsenter -t "$(<"$ENGINE/init.pid")" -n bash -c ': >/dev/tcp/127.0.0.1/5000'
}

# scenario_begin NAME: WORK is a fresh directory, ENGINE its first machine; all machines in WORK end with the script.
scenario_begin() {
  set -euo pipefail
  need_root
  WORK=$(mktemp -d "${DAVIT_TEST_DIR:-/var/tmp}/davit-$1.XXXXXX")
  chmod 711 "$WORK"
  ENGINE=$WORK/host
  trap scenario_end EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  note "$1 on $DAVIT_ENGINE in $WORK"
}

scenario_end() {
  local code=$? log
  trap - EXIT
  if [ $code -ne 0 ] && [ $code -ne $SKIPPED ]; then
    for log in "$WORK"/*/*.log; do
      [ ! -s "$log" ] || printf -- '--- the end of %s\n%s\n' "$log" "$(tail -n 25 "$log" | cut -c 1-300)" >&2
    done
  fi
  for ENGINE in "$WORK"/*/; do
    ENGINE=${ENGINE%/}
    machine_down || true
  done
  if [ "${DAVIT_KEEP:-}" = 1 ]; then
    note "kept: $WORK"
  else
    rm -rf --one-file-system "$WORK"
  fi
  [ $code -ne 0 ] || note "passed"
  exit $code
}
