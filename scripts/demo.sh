#!/bin/bash
# demo.sh: what Davit does, on a real engine of its own, next to which yours goes on untouched: a PostgreSQL saves itself on its
# schedule, is destroyed, and comes back with one command. Takes a minute, more the first time (an image is built).
set -euo pipefail
top=$(realpath "$(dirname "$0")/..")
export DAVIT_ENGINE=${DAVIT_ENGINE:-docker-20.10}
. "$top/tests/engines/engine.sh"
scenario_begin demo
engine_is docker || die "the demo shows the managed plugin: DAVIT_ENGINE=docker-20.10 or docker-26.1"

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
docker() { # shows the command, then runs it on the private engine
  printf '$ docker %s\n' "$*"
  engine "$@"
}
query() { engine exec db psql -qAt -U postgres -c "$1"; }
checksum() { query 'select count(*), md5(string_agg(i || t, chr(44) order by i)) from orders'; }
answers() { query 'select 1'; }

say "A private engine, the plugin from this checkout"
engine_up
davit_stage 1
mkdir "$(davit_data)"
machine_run sh -c 'mkdir -p /var/lib/davit && mount --bind "$1" /var/lib/davit' sh "$(davit_data)"
printf '$ make install\n'
ENGINE_ENV="DAVIT_STAGE=$WORK/stage" machine_run "$top/scripts/install.sh"
docker plugin ls
image=davit-test/postgres
engine_import_postgres || {
  note "no PostgreSQL here (debootstrap failed): the demo goes on with files instead"
  image=
}

say "A database on a volume that saves itself every five seconds"
docker volume create -d davit -o schedule='@every 5s' -o keep-last=10 pgdata
if [ -n "$image" ]; then
  docker run -d --name db --network none -v pgdata:/var/lib/postgresql/data $image
  wait_until 60 "PostgreSQL" answers
  query 'create table orders as select i, md5(i::text) as t from generate_series(1, 200000) i'
  query checkpoint
  before=$(checksum)
else
  engine_import_busybox
  fill pgdata demo
  before=$(tree_manifest "$(volume_directory pgdata)" | sha256sum)
fi
echo "checksum of the data: $before"

say "Its scheduled backups"
newest() { engine davit --json snapshots pgdata | jq -r 'select(.message_type == "snapshot") | .short_id' | tail -n 1; }
is_newer() { [ "$(newest)" != "$1" ]; }
for _ in 1 2; do # the first may have begun before the last row was written
  last=$(newest)
  wait_until 60 "a scheduled backup" is_newer "$last"
done
docker davit snapshots
docker volume inspect pgdata

say "Disaster: the container and its volume are gone"
[ -z "$image" ] || docker rm -f db
docker volume rm pgdata
docker volume ls

say "One command brings it back"
docker volume create -d davit -o from=pgdata -o schedule=off pgdata
docker davit wait pgdata
if [ -n "$image" ]; then
  docker run -d --name db --network none -v pgdata:/var/lib/postgresql/data $image
  wait_until 60 "PostgreSQL" answers
  after=$(checksum)
else
  after=$(tree_manifest "$(volume_directory pgdata)" | sha256sum)
fi
echo "checksum of the data: $after"
assert_eq "$after" "$before" "checksum"

say "The stock restic reads all of it, without us"
[ -z "$image" ] || docker stop db
docker davit backup pgdata
repository=/var/lib/davit/repository
restic_inside() { # the repository is inside the private machine
  printf '$ restic -r %s %s\n' $repository "$*"
  machine_run restic -r $repository --password-file /var/lib/davit/secrets/repository-password --no-cache "$@"
}
restic_inside check --read-data
restic_inside restore latest --path /volumes/pgdata --target "$WORK/restored"
machine_run diff -r --no-dereference --exclude=fifo /var/lib/davit/volumes/pgdata "$WORK/restored/volumes/pgdata"
echo "restic restored the same files"

say "Shown: scheduled backup, loss, return, equal checksums ($after), restic agrees"
