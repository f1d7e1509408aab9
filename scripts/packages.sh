#!/bin/bash
# packages.sh [build] [test]: installs the Debian or Ubuntu packages that are missing, both sets if none is named.
#
# Says nothing and touches nothing when all are there. Asks no question; needs root, or sudo. Removes no package. Neither
# starts nor enables a service: what a new package brings (an engine, a registry) stays off until its owner turns it on.
set -euo pipefail

build=(g++ cmake ninja-build ccache pkg-config git make python3 libcli11-dev libspdlog-dev libcurl4-openssl-dev libssh2-1-dev libboost-dev
  nlohmann-json3-dev prometheus-cpp-dev libzstd-dev libssl-dev libbtrfsutil-dev libpugixml-dev libgtest-dev
  libgmock-dev libbenchmark-dev ca-certificates tzdata)
test=(restic docker.io docker-registry docker-compose podman conmon runc crun iptables iproute2 busybox-static debootstrap
  debian-archive-keyring btrfs-progs xfsprogs e2fsprogs attr acl jq uidmap fuse-overlayfs slirp4netns zstd borgbackup
  ceph-mon ceph-osd ceph-common radosgw openssh-server openssh-client rclone openssl curl util-linux ca-certificates tzdata)
format=(clang-format)
services=(docker.service docker.socket containerd.service docker-registry.service podman.socket podman.service
  podman-auto-update.timer podman-restart.service ceph.target ceph-mon.target ceph-osd.target ceph-radosgw.target
  ceph-crash.service rbdmap.service ssh.service ssh.socket)

# An engine, a client or a compose that did not come from these packages serves as well, and is not replaced.
present() {
  case $1 in
    docker.io) command -v dockerd >/dev/null && command -v docker >/dev/null && return 0 ;;
    docker-compose) command -v docker-compose >/dev/null && return 0 ;;
  esac
  [ "$(dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | head -n 1)" = installed ]
}

[ $# -gt 0 ] || set -- build test
wanted=()
for set in "$@"; do
  case $set in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    format) wanted+=("${format[@]}") ;;
    *) echo "usage: packages.sh [build] [test] [format]" >&2; exit 2 ;;
  esac
done
missing=()
for package in "${wanted[@]}"; do
  present "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || { echo "not a Debian or Ubuntu machine; install: ${missing[*]}" >&2; exit 1; }
if [ "$(id -u)" -eq 0 ]; then
  as_root=(env)
elif command -v sudo >/dev/null; then
  as_root=(sudo env)
else
  echo "needs root or sudo to install: ${missing[*]}" >&2
  exit 1
fi

echo "installing: ${missing[*]}"
declare -A was
for service in "${services[@]}"; do
  was[$service]=$(systemctl is-enabled "$service" 2>/dev/null || true)
done
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap '"${as_root[@]}" rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
  "${as_root[@]}" chmod 755 $policy
fi
quiet() { # runs a command; shows what it printed only if it fails
  local out
  out=$("$@" 2>&1) || { printf '%s\n' "$out" >&2; return 1; }
}
apt=("${as_root[@]}" DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -q -o DPkg::Lock::Timeout=300)
quiet "${apt[@]}" update
quiet "${apt[@]}" install -y --no-remove --no-install-recommends "${missing[@]}"

# What was not enabled before shall not start by itself at the next boot because of us.
if [ -d /run/systemd/system ]; then
  for service in "${services[@]}"; do
    is=$(systemctl is-enabled "$service" 2>/dev/null || true)
    if [ "$is" = enabled ] && [ "${was[$service]}" != enabled ]; then
      quiet "${as_root[@]}" systemctl disable "$service"
    fi
  done
fi
exit 0
