#!/bin/bash
# Several at one volume: two containers, `cp` in and out while one runs, what an image brings with it, a hundred volumes at once.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin neighbours

engine_up
engine_import_busybox
davit_up DAVIT_SCHEDULE=off
run() { engine run --rm --network none "$@"; }

note "two containers on one volume"
engine volume create --driver davit shared >/dev/null
engine run -d --stop-timeout 1 --name one --network none -v shared:/v davit-test/busybox sleep 1000 >/dev/null
engine run -d --stop-timeout 1 --name two --network none -v shared:/v davit-test/busybox sleep 1000 >/dev/null
engine exec one sh -c 'echo from one >/v/file'
assert_eq "$(engine exec two cat /v/file)" "from one" "what the other container sees"
assert_fails "" engine volume rm shared

note "cp, out and in, while they run and after"
engine cp one:/v/file "$WORK/copied"
assert_eq "$(<"$WORK/copied")" "from one" "a file copied out"
echo copied in >"$WORK/in"
engine cp "$WORK/in" one:/v/in
assert_eq "$(engine exec two cat /v/in)" "copied in" "a file copied in"
engine rm -f one >/dev/null
assert_eq "$(engine exec two cat /v/file)" "from one" "the volume after the other container went"
engine cp two:/v/in "$WORK/copied"
engine stop two >/dev/null
if engine_is docker; then # Podman copies from no volume that is not mounted
  engine cp two:/v/file "$WORK/copied"
  assert_eq "$(<"$WORK/copied")" "from one" "a file copied out of a stopped container"
fi
engine rm two >/dev/null

note "what the image has at the volume's place fills an empty volume, never one that came back"
engine volume create --driver davit seeded >/dev/null
assert_eq "$(run -v seeded:/srv/seed davit-test/busybox cat /srv/seed/file)" "from the image" "copy-up"
if engine_is docker; then # Podman copies what is in the directory, but not its own mode
  assert_eq "$(stat -c %a "$(volume_directory seeded)")" 750 "mode of the volume's root"
fi
run -v seeded:/srv/seed davit-test/busybox sh -c 'echo mine >/srv/seed/file; chmod 750 /srv/seed'
davit backup seeded
engine volume create --driver davit -o from=seeded again >/dev/null
davit wait again
assert_eq "$(run -v again:/srv/seed davit-test/busybox cat /srv/seed/file)" mine "a restored volume is not seeded"
assert_eq "$(stat -c %a "$(volume_directory again)")" 750 "mode of the restored volume's root"

note "a volume without a name"
if engine_is docker; then
  run --volume-driver davit -v /anonymous davit-test/busybox sh -c 'echo x >/anonymous/x'
  assert_eq "$(engine volume ls -q | grep -cE '^[0-9a-f]{64}$' || true)" 0 "anonymous volumes after --rm"
fi

note "a hundred volumes at once"
each() { # COMMAND…: for volumes n1 … n100, ten at a time
  local i job running=()
  for i in $(seq 100); do
    "$@" "n$i" &
    running+=($!)
    if [ ${#running[@]} -eq 10 ]; then
      for job in "${running[@]}"; do wait "$job" || die "one of a hundred failed: $*"; done
      running=()
    fi
  done
}
create() { engine volume create --driver davit "$1" >/dev/null; }
write() { run -v "$1:/v" davit-test/busybox sh -c "echo $1 >/v/name" >/dev/null; }
check() { [ "$(cat "$(volume_directory "$1")/name")" = "$1" ]; }
remove() { engine volume rm "$1" >/dev/null; }
each create
assert_eq "$(engine volume ls -q | grep -cE '^n[0-9]+$')" 100 "volumes"
each write
each check
davit backup -q
each remove
assert_eq "$(engine volume ls -q | grep -cE '^n[0-9]+$' || true)" 0 "volumes after removal"
none_left() { [ -z "$(ls "$(davit_data)/removed" 2>/dev/null)" ]; }
wait_until 300 "the last backup of a hundred removed volumes" none_left
assert_eq "$(davit_json snapshots -- 'select(.message_type == "snapshot") | .volume' | grep -E '^n[0-9]+$' | sort -u | wc -l)" 100 \
  "removed volumes that have snapshots"
repository_restic check >&2
