# shellcheck shell=bash
# Davit on the engine of a machine: the managed plugin for Docker, a service for Podman; the same words for both.
#
#   davit_up [KEY=VALUE…]    installs and starts it; its data directory is $(davit_data), its settings KEY=VALUE
#   davit ARGUMENT…          the client, inside the machine
#   davit_kill               kill -9 of the daemon;  davit_start: Podman's daemon again (Docker's engine does that itself)
#   davit_comes_back PID     waits until it answers again after somebody else killed it
#   repository_restic ARG…   the stock restic, on this machine's repository
# DAVIT_BUILD names the build that is tried (build/release).

DAVIT_BUILD=${DAVIT_BUILD:-$TOP/build/release}

davit_data() { printf '%s\n' "$ENGINE/data"; }
davit() { machine_run env DAVIT_DATA="$(davit_data)" "$(davit_client)" "$@"; }
davit_client() { printf '%s\n' "$DAVIT_BUILD/bin/davit"; }

# davit_json ARGUMENT… -- FILTER: a jq filter over the lines that the client prints with --json.
davit_json() {
  local arguments=()
  while [ "$1" != -- ]; do
    arguments+=("$1")
    shift
  done
  davit --json "${arguments[@]}" | jq -r "$2"
}

davit_up() {
  mkdir -p "$(davit_data)"
  chmod 700 "$(davit_data)"
  davit_stage 1
  if engine_is docker; then
    engine plugin create davit "$WORK/stage" >/dev/null
    engine plugin set davit "data.source=$(davit_data)" "$@"
    engine plugin enable --timeout 0 davit >/dev/null
  else
    printf '%s\n' "$@" >"$ENGINE/davit.env"
    davit_tell_podman
    podman_service_up
    davit_start
  fi
  wait_until 30 "the daemon's answer" davit status
}

# davit_stage VERSION: the plugin's files in WORK/stage, which hold VERSION, so that each is another plugin.
davit_stage() {
  if [ ! -d "$WORK/stage" ]; then
    DAVIT_BUILD=$DAVIT_BUILD DAVIT_STAGE=$WORK/stage "$TOP/scripts/plugin.sh" stage || die "no plugin to try"
  fi
  printf '%s\n%s\n' "$1" "$(</proc/sys/kernel/random/uuid)" >"$WORK/stage/rootfs/etc/davit-release"
}

davit_socket() { if engine_is rootless; then echo /run/user/$TEST_UID/davit/davit.sock; else echo /run/davit/davit.sock; fi; }

davit_tell_podman() {
  machine_run sh -s "$(davit_socket)" <<'C'
mkdir -p /etc/containers/containers.conf.d "$(dirname "$1")"
printf '[engine.volume_plugins]\ndavit = "%s"\n' "$1" >/etc/containers/containers.conf.d/davit.conf
C
  if engine_is rootless; then
    machine_run chown $TEST_UID:$TEST_UID "$(dirname "$(davit_socket)")"
    chown $TEST_UID:$TEST_UID "$(davit_data)"
  fi
}

davit_start() {
  local program=(env DAVIT_DATA="$(davit_data)" DAVIT_PLUGIN_SOCKET="$(davit_socket)" DOCKER_HOST="unix://$(podman_socket)")
  local line
  while IFS= read -r line; do
    [ -z "$line" ] || program+=("$line")
  done <"$ENGINE/davit.env"
  # A tree has newer libraries of its own; those that it lacks come from the plugin, all but the C library.
  if [ -n "$(engine_tree)" ]; then
    if [ ! -d "$WORK/libraries" ]; then
      mkdir "$WORK/libraries"
      find "$WORK/stage/rootfs" -name '*.so*' -type f -exec cp {} "$WORK/libraries/" \;
      rm -f "$WORK"/libraries/{ld-linux*,libc.so*,libm.so*,libpthread.so*,libdl.so*,librt.so*,libresolv.so*,libgcc_s.so*,libstdc++.so*}
    fi
    program+=(LD_LIBRARY_PATH="$WORK/libraries")
  fi
  program+=("$DAVIT_BUILD/plugin/davitd")
  if engine_is rootless; then
    ENGINE_ENV=$(podman_user_environment) machine_spawn davitd \
      setpriv --reuid $TEST_UID --regid $TEST_UID --clear-groups podman unshare "${program[@]}"
  else
    machine_spawn davitd "${program[@]}"
  fi
}

# davit_pid: the daemon's process as the machine sees it.
davit_pid() {
  machine_run sh -c 'for p in /proc/[0-9]*; do
    case "$(tr "\0" " " <$p/cmdline 2>/dev/null)" in *unshare*) ;; */davitd*) echo ${p#/proc/};; esac
  done' | head -n 1
}

davit_kill() {
  local pid
  pid=$(davit_pid)
  [ -n "$pid" ] || die "no davitd runs"
  machine_run sh -c 'kill -KILL "$1"' sh "$pid"
  davit_comes_back "$pid"
}
davit_comes_back() { # PID that was killed
  local pid=$1
  wait_until 30 "end of davitd $pid" davit_gone "$pid"
  if engine_is podman; then
    wait_until 30 "end of its parent" machine_dead davitd
    davit_start
  fi
  wait_until 30 "the daemon's answer after kill -9" davit status
}
davit_gone() { [ "$(davit_pid)" != "$1" ]; }

# use_restic 0.14|0.18: which stock restic repository_restic runs.
repository_restic() {
  local command=(restic)
  [ "${RESTIC_VERSION:-0.14}" = 0.14 ] || command=(restic_018)
  "${command[@]}" -r "$(davit_data)/repository" --password-file "$(davit_data)/secrets/repository-password" --no-cache -q "$@"
}

# davit_take_repository MACHINE: what a new machine is given: the repository and its password, nothing else.
davit_take_repository() {
  local data
  data=$(davit_data)
  mkdir -p -m 700 "$data" "$data/secrets"
  cp -a "$1/data/repository" "$data/"
  cp -a "$1/data/secrets/repository-password" "$data/secrets/"
  chown --reference="$data/repository" "$data/secrets"
}

# volume_directory NAME: where the host finds the volume's files.
volume_directory() { printf '%s\n' "$(davit_data)/volumes/$1"; }

# fill VOLUME SEED: through a container, many kinds of files whose content depends on SEED.
fill() {
  engine run --rm --network none -v "$1:/v" davit-test/busybox sh -ec '
    cd /v
    mkdir -p dir/deep "name with  spaces" locked
    i=0
    while [ $i -lt 200 ]; do echo "'"$2"' $i" >dir/$i; i=$((i + 1)); done
    yes "'"$2"'" | head -c 3000000 >big
    ln -f big dir/hard; ln -sfn ../big dir/soft; ln -sfn /nowhere dangling
    mkfifo -m 640 fifo 2>/dev/null || true
    truncate -s 5000000 sparse
    echo secret >locked/file; chmod 000 locked/file; chmod 711 locked
    chown -R 1000:1000 dir; chmod 2775 dir; touch -d "2001-02-03 04:05:06" dir/7'
}

snapshots_of() { davit_json snapshots "$1" -- 'select(.message_type == "snapshot") | .short_id'; }
snapshot_count() { snapshots_of "$1" | wc -l; }
has_snapshots() { [ "$(snapshot_count "$1")" -ge "$2" ]; } # VOLUME COUNT

volume_state() {
  davit_json status -- "select(.message_type == \"volume\" and .name == \"$1\") | .state"
}
volume_is() { [ "$(volume_state "$1")" = "$2" ]; }
