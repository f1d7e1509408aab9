# shellcheck shell=bash
# Podman in a private machine: as root, or (…-rootless) as user 7777 whom only the machine knows. Data below $ENGINE/podman.
# Settings are the machine's own /etc/containers; the API service listens at /run/podman/podman.sock, or in the user's runtime directory.

podman_cli() {
  if engine_is rootless; then
    podman_as_user podman "$@"
  else
    machine_run podman "$@"
  fi
}

podman_user_environment() {
  echo "HOME=$ENGINE/podman-home XDG_RUNTIME_DIR=/run/user/$TEST_UID USER=davit-test LOGNAME=davit-test"
}

podman_as_user() {
  ENGINE_ENV=$(podman_user_environment) machine_run setpriv --reuid $TEST_UID --regid $TEST_UID --clear-groups --inh-caps=-all "$@"
}

podman_socket() {
  if engine_is rootless; then echo /run/user/$TEST_UID/podman.sock; else echo /run/podman/podman.sock; fi
}

podman_start() {
  local storage=$ENGINE/podman driver=overlay
  [ "$(stat -f -c %T "$ENGINE")" != overlayfs ] || driver=vfs # no overlay upon an overlay
  machine_run sh -s "$storage" "$TEST_UID" $driver <<'C'
set -e
mkdir -p /etc/containers "$1" /run/podman /run/user/$2
cat >/etc/containers/containers.conf <<X
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
log_driver = "k8s-file"
[network]
firewall_driver = "none"
X
cat >/etc/containers/storage.conf <<X
[storage]
driver = "$3"
graphroot = "$1"
runroot = "/run/containers/storage"
rootless_storage_path = "$1"
X
[ -e /etc/containers/policy.json ] || echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
chown $2:$2 /run/user/$2
chmod 700 /run/user/$2
C
  if engine_is rootless; then podman_prepare_user "$storage"; fi
  podman_cli info >"$ENGINE/podman-info" 2>&1 || {
    engine_is rootless && cannot "rootless Podman: $(tail -n 3 "$ENGINE/podman-info")"
    die "podman info: $(cat "$ENGINE/podman-info")"
  }
}

podman_prepare_user() {
  mkdir -p "$ENGINE/podman-home"
  chmod 711 "$ENGINE"
  chown $TEST_UID:$TEST_UID "$ENGINE/podman-home" "$1"
  machine_run sh -s "$TEST_UID" "$ENGINE/podman-home" <<'C'
set -e
grep -q ^davit-test: /etc/passwd || echo "davit-test:x:$1:$1::$2:/bin/sh" >>/etc/passwd
grep -q ^davit-test: /etc/group || echo "davit-test:x:$1:" >>/etc/group
grep -q ^davit-test: /etc/subuid 2>/dev/null || echo "davit-test:700000:65536" >>/etc/subuid
grep -q ^davit-test: /etc/subgid 2>/dev/null || echo "davit-test:700000:65536" >>/etc/subgid
C
}

# podman_service_up: the API service, which Davit asks about containers.
podman_service_up() {
  machine_run rm -f "$(podman_socket)" # one that was killed leaves it behind
  if engine_is rootless; then
    ENGINE_ENV=$(podman_user_environment) machine_spawn podman-service \
      setpriv --reuid $TEST_UID --regid $TEST_UID --clear-groups podman system service -t 0 "unix://$(podman_socket)"
  else
    machine_spawn podman-service podman system service -t 0 "unix://$(podman_socket)"
  fi
  wait_until 30 "podman system service" machine_run test -S "$(podman_socket)"
}
