# shellcheck shell=bash
# Docker in a private machine. Data below $ENGINE/docker; no bridge and no packet filter: containers use --network none or host,
# or a network of their own. DOCKERD_ARGS: more arguments for dockerd.

docker_cli() { machine_run docker "$@"; }

docker_start() {
  mkdir -p "$ENGINE/docker"
  printf '{"features": {"containerd-snapshotter": %s}}\n' "$(engine_is containerd && echo true || echo false)" >"$ENGINE/daemon.json"
  # shellcheck disable=SC2086 # a list of words
  machine_spawn dockerd dockerd --config-file "$ENGINE/daemon.json" --data-root "$ENGINE/docker" -H unix:///run/docker.sock --bridge=none --iptables=false \
    --exec-opt native.cgroupdriver=cgroupfs ${DOCKERD_ARGS:-}
  wait_until 60 "dockerd (see $ENGINE/dockerd.log)" docker_answers
}

docker_answers() {
  machine_alive dockerd || return $HOPELESS
  docker_cli version
}
