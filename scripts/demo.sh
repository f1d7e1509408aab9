#!/bin/bash
# demo.sh: what Davit does, on a real engine of its own, next to which yours goes on untouched: a PostgreSQL, with a package installed
# into its container, saves itself on schedule; container, image and volume are destroyed, and come back with two commands. Takes
# about a minute, more the first time (an image is built). DAVIT_ENGINE: docker-20.10, docker-26.1, podman-4.3 or podman-5.4.
set -euo pipefail
top=$(realpath "$(dirname "$0")/..")
export DAVIT_ENGINE=${DAVIT_ENGINE:-docker-20.10}
. "$top/tests/engines/engine.sh"
scenario_begin demo

# What is shown is what a person would type; run_davit stands for `docker davit`, and with Podman `davit`.
if engine_is docker; then cli=docker davit_cli="docker davit"; else cli=podman davit_cli=davit; fi
say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
show() { # WORD…: as one would type it
  local word key line='$'
  for word in "$@"; do
    key=
    if [[ $word =~ ^[a-z]+=.*\  ]]; then key=${word%%=*}= word=${word#*=}; fi # schedule='@every 5s'
    case $word in
      *\'*) line+=" $key\"$word\"" ;;
      *[!A-Za-z0-9_.,:/=@%+-]*) line+=" $key'$word'" ;;
      *) line+=" $key$word" ;;
    esac
  done
  printf '%s\n' "$line"
}
run() { # ARGUMENT…: of the engine's command line, on the private engine
  show $cli "$@"
  engine "$@"
}
run_davit() {
  # shellcheck disable=SC2086 # one word or two
  show $davit_cli "$@"
  quiet_davit "$@"
}
quiet_davit() { if engine_is docker; then engine davit "$@"; else davit "$@"; fi; }
# A point that began after TIME and has both, volume and container.
has_point_after() { quiet_davit --json points | jq -se "any(.[]; .time > \"$1\" and (.pieces | length) == 2)"; }
no_images() { [ -z "$(engine images -aq)" ]; }

# ---- what the container is: a PostgreSQL, or where none can be had, files. All changes of the container's own files are lost with
# it, but for Davit.
use_postgres() {
  image=davit-test/postgres
  directory=/var/lib/postgresql/data
  removed=/usr/bin/apt-get
}
sql() { engine exec db psql -qAt -U postgres -c "$1"; }
answers() { sql 'select 1'; }
change_postgres() {
  wait_until 60 "PostgreSQL" answers
  (cd "$CACHE" && run cp postgresql-ip4r.deb db:/tmp)
  show $cli exec db dpkg --install /tmp/postgresql-ip4r.deb
  engine exec -e DEBIAN_FRONTEND=noninteractive db dpkg --install /tmp/postgresql-ip4r.deb | grep '^Setting up'
  run exec db rm $removed
  run exec db psql -U postgres -c 'create extension ip4r'
  run exec db psql -U postgres -c "create table visits as select i, ip4 '10.0.0.0' + i as address from generate_series(1, 200000) i"
  run exec db psql -U postgres -c checkpoint
}
checksum_postgres() { sql 'select count(*), md5(string_agg(i || address::text, chr(44) order by i)) from visits'; }
examine_postgres() {
  wait_until 60 "PostgreSQL" answers
  run exec db psql -U postgres -c "select count(*) from visits where address <<= ip4r '10.0.1.0/24'"
  assert_eq "$(sql "select count(*) from visits where address <<= ip4r '10.0.1.0/24'")" 256 "rows that the extension finds"
  run exec db dpkg-query --show postgresql-15-ip4r
}

use_files() {
  image=davit-test/busybox
  directory=/data
  removed=/bin/vi
}
change_files() {
  run exec db sh -c 'echo "echo I am the tool" >/bin/tool && seq 200000 >/data/numbers'
  run exec db rm $removed
}
checksum_files() { engine exec db md5sum /data/numbers; }
examine_files() { run exec db sh /bin/tool; }

say "A private engine, and Davit from this checkout"
engine_up
if engine_is docker; then
  davit_stage 1
  mkdir "$(davit_data)"
  machine_run sh -c 'mkdir -p /var/lib/davit && mount --bind "$1" /var/lib/davit' sh "$(davit_data)"
  show make install
  ENGINE_ENV="DAVIT_STAGE=$WORK/stage" machine_run "$top/scripts/install.sh"
else
  davit_up
fi
if (engine_import_postgres 2>"$WORK/import.log" && cached postgresql-ip4r.deb build_postgres_ip4r >/dev/null); then
  kind=postgres
else
  note "no PostgreSQL here (debootstrap failed): the demo goes on with files instead"
  kind=files
  engine_import_busybox >/dev/null
fi
use_$kind

say "A database on a volume of Davit; the label has the container saved with it"
run volume create --driver davit -o schedule=off -o keep-last=10 -o final-backup=off pgdata
command=()
[ $kind = postgres ] || command=(sleep 100000)
run run -d --name db -l davit.commit=true --network none -v pgdata:$directory $image "${command[@]}"

say "Changes in the container itself: what is installed here, and removed there, no image and no volume knows"
change_$kind
before=$(checksum_$kind)
echo "checksum of the data: $before"

# From here on nothing is executed in the container: Docker hangs where that meets the pause of a commit (docs/protocol.md).
say "From now on every five seconds: volume, image and configuration, together, as one point. We only wait"
run_davit config set --volume pgdata schedule '@every 5s'
wait_until 120 "what the schedule saves" has_point_after "$(date -u +%FT%T.%NZ)"
run_davit points
run_davit status

say "Disaster: the container, its image and its volume are gone"
run rm -f db
run volume rm pgdata
run rmi -f $image
wait_until 60 "an engine without images" no_images # a commit may have been under way
run ps -a
run images -a
run volume ls

say "Two commands bring it back"
run volume create --driver davit -o from=pgdata -o schedule=off pgdata
run_davit restore --container db --start

say "It answers: the package is there, what was removed is not, the data is the same"
examine_$kind
show $cli exec db ls $removed
if answer=$(engine exec db ls $removed 2>&1); then die "$removed is there again"; fi
assert_contains "$answer" "No such file" "what ls says"
printf '%s\n' "$answer"
after=$(checksum_$kind)
echo "checksum of the data: $after"
assert_eq "$after" "$before" "checksum"

say "The stock restic reads all of it, without us"
run stop db
run_davit backup pgdata
repository=$(davit_data)/repository
password=$(davit_data)/secrets/repository-password
if engine_is docker; then repository=/var/lib/davit/repository password=/var/lib/davit/secrets/repository-password; fi
restic_inside() { # the repository is inside the private machine
  show restic -r "$repository" "$@"
  machine_run restic -r "$repository" --password-file "$password" --no-cache -q "$@"
}
restic_inside check --read-data
restic_inside restore latest --path /volumes/pgdata --target "$WORK/restored"
machine_run diff -r --no-dereference "$(volume_directory pgdata)" "$WORK/restored/volumes/pgdata"
echo "restic restored the same files"

say "Shown: saved on schedule, lost, back with two commands; equal checksums ($after); restic agrees"
