#!/bin/bash
# The restore of a container, and the load of an image behind a volume, with davit and then the engine killed at each step:
# what was half made is taken back, or finished; nothing comes later; and the next run succeeds.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin container-kills

engine_up
engine_import_busybox
davit_up DAVIT_SCHEDULE=off

everything() { # what there is in the engine, but for times
  engine ps -a --format '{{.Names}}' | sort
  engine images -a --format '{{.Repository}}:{{.Tag}}' | sort
  engine volume ls -q | sort
  engine network ls --format '{{.Name}}' | sort
}
committed() { engine images --format '{{.Repository}}:{{.Tag}}' | grep -E '(^|/)davit/' || true; }
remove_all() { # of the container
  engine rm -f web >/dev/null
  engine volume rm data >/dev/null
  engine network rm shopnet >/dev/null
  engine rmi "$(committed)" >/dev/null
}
sum_of() { engine exec web sha256sum "$1" | cut -d ' ' -f 1; }
serves() { # it is whole: it starts, with what its image and its volume held
  [ "$(sum_of /blob)" = "$blob" ] || die "the layer is another one $1"
  [ "$(sum_of /data/file)" = "$file" ] || die "the volume holds something else $1"
}
# Nothing is left to be undone. (That an image may still come is looked at for an hour: it is no hindrance.)
settled() {
  local entry
  for entry in "$(davit_data)"/state/restores/*.json; do
    [ ! -e "$entry" ] || jq -e .undone "$entry" >/dev/null || return 1
  done
}
same_as_before() { diff "$WORK/everything" <(everything) >&2 || die "the engine has something else $1"; }
next_run_succeeds() {
  davit restore --container web --start >"$WORK/out" 2>&1 || die "the next run failed $1: $(<"$WORK/out")"
  serves "after the next run $1"
  [ -z "$(ls "$(davit_data)/state/restores")" ] || die "the journal of a restore is left $1"
  remove_all
  same_as_before "after the next run $1"
}

# strike PATTERN DIRECTORY PID DELAY: kills as soon as a file in the directory matches, or all have gone again: the restore was
# faster. Builtins only: some steps take a few milliseconds.
strike() {
  machine_run bash -c 'shopt -s nullglob
    text= seen= deadline=$((SECONDS + 60))
    until [[ $text == *$1* ]]; do
      [ $SECONDS -lt $deadline ] || exit 1
      files=("$2"/*.json)
      [ ${#files[@]} -gt 0 ] || [ -z "$seen" ] || break
      for file in "${files[@]}"; do
        seen=1
        [[ $text == *$1* ]] || read -r -d "" text <"$file"
      done
    done 2>/dev/null
    sleep "$4"
    kill -KILL "$3"' bash "$1" "$2" "$3" "$4" || die "it never came to: $1"
}

declare -A WORDS=([journal]='"version"' [image]='"asked": "image"' [network]='"asked": "network"' [volume]='"asked": "volume"'
  [container]='"asked": "container"' [restoring]='"state": "restoring"' [made]='"container_id": "'[0-9a-f])
directory_of() { # STEP
  case $1 in restoring) echo "$(davit_data)/registry" ;; *) echo "$(davit_data)/state/restores" ;; esac
}
delay_of() { case $1 in image) echo "0.$((RANDOM % 3))" ;; *) echo 0 ;; esac; } # somewhere in the stream

# Whoever is killed: the caller of the restore hears of its end, and what it hears is true.
judge() { # WHAT CODE
  local code=$2
  wait_until 120 "the end of the undoing $1" settled
  if engine inspect web >/dev/null 2>&1; then
    note "it came to its end $1"
    engine start web >/dev/null
    serves "$1"
    remove_all
  else
    [ "$code" -ne 0 ] || die "there is no container, and the restore said that it succeeded $1"
    grep -q . "$WORK/restore.out" || die "it failed without a word $1"
  fi
  same_as_before "$1"
  next_run_succeeds "$1"
}

engine volume create --driver davit data >/dev/null
engine network create --subnet 10.77.0.0/24 shopnet >/dev/null
engine run -d --stop-timeout 1 --name web --network shopnet -l davit.commit=true -v data:/data davit-test/busybox sleep 100000 >/dev/null
engine exec web sh -c 'head -c 120000000 /dev/urandom >/blob; head -c 60000000 /dev/urandom >/data/file'
blob=$(sum_of /blob)
file=$(sum_of /data/file)
davit -q backup data
snapshot=$(snapshots_of data | tail -n 1)
engine rm -f web >/dev/null
engine volume rm data >/dev/null
engine network rm shopnet >/dev/null
removals_done() { [ -z "$(ls "$(davit_data)/removed")" ]; }
wait_until 60 "the last backup of the volume" removals_done
everything >"$WORK/everything"
[ -z "$(committed)" ] || die "the committed image is in the engine still"

begin_restore() { # STEP PID
  davit restore --container web >"$WORK/restore.out" 2>&1 &
  restore=$!
  strike "${WORDS[$1]}" "$(directory_of "$1")" "$2" "$(delay_of "$1")"
}
engine_again() {
  engine_start
  if engine_is podman; then podman_service_up; fi
  wait_until 60 "the daemon's answer" davit status
}
engine_pid() { cat "$ENGINE/$1.pid"; }
if engine_is docker; then process=dockerd; else process=podman-service; fi
finish_engine() { wait_until 60 "the end of the engine" machine_dead $process; }

# COUNT STEP…: a sample, all of them with DAVIT_SOAK=1. DAVIT_SEED makes it the same again.
seed=${DAVIT_SEED:-$RANDOM}
RANDOM=$seed
note "seed $seed"
some() {
  local count=$1
  shift
  [ "${DAVIT_SOAK:-}" != 1 ] || count=$#
  printf '%s\n' "$@" | awk -v seed="$seed" 'BEGIN { srand(seed) } { print rand() "\t" $0 }' | sort -n | sed "${count}q" | cut -f 2
}
davit_steps=$(some 3 journal image network volume restoring container made)
engine_steps=$(some 1 image volume restoring container)
for step in $davit_steps; do
  note "davit is killed: $step"
  pid=$(davit_pid)
  begin_restore $step "$pid"
  davit_comes_back "$pid"
  code=0
  wait $restore || code=$?
  judge "after davit was killed: $step" $code
done

for step in $engine_steps; do
  note "the engine is killed: $step"
  begin_restore $step "$(engine_pid $process)"
  finish_engine
  engine_again
  code=0
  wait $restore || code=$?
  judge "after the engine was killed: $step" $code
done

note "an image that comes with a volume: davit and the engine are killed while it is loaded"
WORDS[load]='"state": "pending"'
images_status() { engine volume inspect data | jq -r '.[0].Status.images // ""'; }
is_loaded() { [[ $(images_status) == *": loaded" ]]; }
for who in davit engine; do
  if [ $who = davit ]; then pid=$(davit_pid); else pid=$(engine_pid $process); fi
  (engine volume create --driver davit -o "from=data@$snapshot" data >"$WORK/create.out" 2>&1 || true) &
  create=$!
  strike '"images": \[*"state": "pending"' "$(davit_data)/registry" "$pid" "$(delay_of image)"
  wait $create
  if [ $who = davit ]; then davit_comes_back "$pid"; else finish_engine && engine_again; fi
  engine volume inspect data >/dev/null 2>&1 || engine volume create --driver davit -o "from=data@$snapshot" data >/dev/null
  wait_until 120 "the image after the $who was killed" is_loaded
  davit wait data
  assert_eq "$(committed | wc -l)" 1 "images of davit after the $who was killed"
  assert_eq "$(sha256sum "$(volume_directory data)/file" | cut -d ' ' -f 1)" "$file" "the volume after the $who was killed"
  engine volume rm data >/dev/null
  engine rmi "$(committed)" >/dev/null
  same_as_before "after the $who was killed in the load of an image"
done

wait_until 60 "the last backups" removals_done
RESTIC_VERSION=0.18 repository_restic check --read-data >&2
