#!/bin/bash
# machine-init.sh DIR TREE SHARED…: process 1 of a private machine (machine.sh). Runs in fresh namespaces: makes them a home, then
# only reaps. TREE empty: the host's root file system with private /etc, /usr/local and /var/lib. The directories SHARED (the
# scenario's, the checkout, the cache) are seen at their own paths.
set -euo pipefail
dir=$1 tree=$2
shift 2
read -r host_pid _ </proc/self/stat # /proc still is the host's

# private LOWER NAME TARGET: LOWER with changes of our own at TARGET; they are kept in DIR, or in memory where DIR's file system cannot.
private() {
  local lower=$1 name=$2 target=$3
  mkdir -p "$dir/upper/$name" "$dir/upper/.$name.work"
  mount -t overlay overlay -o "lowerdir=$lower,upperdir=$dir/upper/$name,workdir=$dir/upper/.$name.work" "$target" 2>/dev/null && return
  echo "changes of $lower are kept in memory: $dir cannot hold an overlay" >&2
  mkdir -p "$dir/memory"
  mountpoint -q "$dir/memory" || mount -t tmpfs -o mode=755 tmpfs "$dir/memory"
  mkdir -p "$dir/memory/$name" "$dir/memory/.$name.work"
  mount -t overlay overlay -o "lowerdir=$lower,upperdir=$dir/memory/$name,workdir=$dir/memory/.$name.work" "$target"
}

hostname davit-test
ip link set lo up
if [ -n "$tree" ]; then
  root=/mnt
  private "$tree" root $root
  mkdir -p $root/.host
  mount -t proc proc $root/proc
  mount --rbind /sys $root/sys
  mount --rbind /dev $root/dev
  mount -t tmpfs -o mode=755 tmpfs $root/run
  mount -t tmpfs -o mode=1777 tmpfs $root/tmp
  for shared in "$@"; do
    [ -d "$shared" ] || continue
    mkdir -p "$root$shared"
    mount --rbind "$shared" "$root$shared"
  done
  cd $root
  pivot_root . .host
  cd /
  umount -l /.host
  rmdir /.host
else
  mount -t proc proc /proc
  mount -t tmpfs -o mode=755 tmpfs /run
  for part in etc usr/local var/lib; do
    private "/$part" "${part//\//-}" "/$part"
  done
fi
mkdir -p /run/lock /var/lib/docker /var/lib/containers
echo "$host_pid" >"$dir/init.pid.tmp"
mv "$dir/init.pid.tmp" "$dir/init.pid"

trap : TERM INT HUP
while :; do
  sleep infinity &
  wait || true
done
