# shellcheck shell=bash
# A private machine: namespaces of mounts, network, processes, IPC and host name, in which an engine believes to be alone.
#
# Its state is in the directory $ENGINE (so several machines live side by side, and any later process may use one):
#   init.pid   process 1 of the machine, as the host sees it; its end is the end of all that runs inside
#   upper/     what the machine changed in /etc, /usr/local, /var/lib (own root: everywhere); it survives machine_reboot
#   NAME.pid   process of machine_spawn NAME, as the machine sees it;   NAME.log   what it printed
# The host's engine, its /run, /etc and /var/lib, and its network are never touched. The directory above $ENGINE (the scenario's)
# and the checkout have the same paths inside and outside. When the script that started it dies, the machine dies too.

# machine_up [TREE]: starts it on the host's own programs, or with TREE as its root file system.
machine_up() {
  local tree=${1:-} deadline
  : "${ENGINE:?directory of the machine}"
  mkdir -p "$ENGINE"/{upper,home}
  rm -f "$ENGINE"/*.pid
  printf '%s\n' "$tree" >"$ENGINE/tree"
  setsid unshare -n -m -p -i -u -f --kill-child --propagation private \
    bash "$TOP/tests/engines/machine-init.sh" "$ENGINE" "$tree" "$(dirname "$ENGINE")" "$TOP" "$CACHE" \
    >"$ENGINE/init.log" 2>&1 </dev/null &
  deadline=$((SECONDS + 30))
  until [ -s "$ENGINE/init.pid" ]; do
    kill -0 $! 2>/dev/null && [ $SECONDS -lt $deadline ] || cannot "no private namespaces: $(tail -n 3 "$ENGINE/init.log")"
    sleep 0.02
  done
  disown $!
  setsid bash -c 'while kill -0 "$1" && kill -0 "$2"; do sleep 1; done; kill -KILL "$2"' _ $$ "$(<"$ENGINE/init.pid")" \
    >/dev/null 2>&1 </dev/null & # the watch: it ends by itself soon after the machine
  disown $!
}

machine_is_up() { [ -s "$ENGINE/init.pid" ] && kill -0 "$(<"$ENGINE/init.pid")" 2>/dev/null; }

# machine_run COMMAND…: runs it inside, in the same directory if the machine has it, and gives its exit code.
machine_run() {
  nsenter -t "$(<"$ENGINE/init.pid")" -m -n -p -i -u -- /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME="$ENGINE/home" LANG=C.UTF-8 TERM="${TERM:-dumb}" TMPDIR=/tmp PODMAN_IGNORE_CGROUPSV1_WARNING=1 DOCKER_HOST=unix:///run/docker.sock ${ENGINE_ENV:-} \
    /bin/sh -c 'cd -- "$1" 2>/dev/null || cd /; shift; exec "$@"' sh "$PWD" "$@"
}

# machine_spawn NAME COMMAND…: starts it inside, in the background, as a session of its own.
machine_spawn() {
  local name=$1
  shift
  rm -f "$ENGINE/$name.pid"
  machine_run setsid -f /bin/sh -c 'p=$1; shift; echo $$ >"$p.tmp"; mv "$p.tmp" "$p"; exec "$@"' sh "$ENGINE/$name.pid" "$@" \
    >>"$ENGINE/$name.log" 2>&1 </dev/null
  wait_until 10 "start of $name" test -s "$ENGINE/$name.pid"
}

machine_alive() { [ -s "$ENGINE/$1.pid" ] && machine_kill "$1" 0 2>/dev/null; }
machine_kill() { machine_run sh -c 'kill -s "$1" "$2"' sh "$2" "$(<"$ENGINE/$1.pid")"; } # NAME SIGNAL
machine_dead() { ! machine_alive "$1"; }

# machine_signal NAME SIGNAL: signals it and waits until it is gone.
machine_signal() {
  machine_alive "$1" || return 0
  machine_kill "$1" "$2" || true
  wait_until 60 "end of $1" machine_dead "$1"
  rm -f "$ENGINE/$1.pid"
}

# machine_down: as a power cut. Nothing that ran inside is left; the files are.
machine_down() {
  local pid cgroups
  [ -s "$ENGINE/init.pid" ] || return 0
  pid=$(<"$ENGINE/init.pid")
  cgroups=$(machine_run sh -c 'cat /proc/[0-9]*/cgroup 2>/dev/null' | sort -ru | grep -vxFf /proc/self/cgroup || true)
  kill -KILL "$pid" 2>/dev/null || true
  wait_until 30 "end of the machine" machine_gone "$pid"
  rm -f "$ENGINE"/*.pid
  machine_remove_cgroups "$cgroups"
}

# machine_remove_cgroups LINES: removes the control groups of containers whose engine could not do it any more.
machine_remove_cgroups() {
  local controllers path mount
  while IFS=: read -r _ controllers path; do
    [ -n "$path" ] && [ "$path" != / ] || continue
    for mount in "/sys/fs/cgroup/${controllers#name=}" /sys/fs/cgroup /sys/fs/cgroup/unified; do
      [ ! -d "$mount$path" ] || rmdir "$mount$path" 2>/dev/null || true # not empty: not ours alone
    done
  done <<<"$1"
}
machine_gone() { ! kill -0 "$1" 2>/dev/null; }
