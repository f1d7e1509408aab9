#!/bin/bash
# Three hosts, each with an engine in a network of its own, share one repository in a bucket of a fourth, Ceph: all save twenty
# volumes at once while one of them prunes, volumes move between them, and nothing is lost.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin many-hosts

volumes=20
hosts=(alpha beta gamma)
store=10.77.0.1 # in the store's own network, which no other reaches

# on HOST COMMAND…: with that host's engine.
on() {
  local ENGINE=$WORK/$1
  shift
  "$@"
}

# together NAME COMMAND…: COMMAND HOST for each host, all at once; dies if one fails.
together() {
  local what=$1 host job failed="" jobs=()
  shift
  for host in "${hosts[@]}"; do
    ("$@" "$host") &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || failed=1; done
  [ -z "$failed" ] || die "$what failed on a host"
}

note "a store, and three hosts around it"
ENGINE=$WORK/store
machine_up
machine_run sh -ec "ip link add hosts0 type bridge; ip address add $store/24 dev hosts0; ip link set hosts0 up" ||
  cannot "no bridges between networks"
code=0
machine_run "$TOP/tests/store/ceph.sh" up "$ENGINE/ceph" $store >&2 || code=$?
[ $code -ne $SKIPPED ] || cannot "no Ceph"
[ $code -eq 0 ] || die "Ceph does not start"
gateway=$(sed -n 's/^HTTP=//p' "$ENGINE/ceph/s3")
repository=s3:http://$gateway/shared/all

begin_host() {
  local number
  ENGINE=$WORK/$1
  engine_up
  engine_import_busybox
  mkdir -p -m 700 "$(davit_data)" "$(davit_data)/secrets"
  echo "the password of all" >"$(davit_data)/secrets/shared"
  echo davit-secret >"$(davit_data)/secrets/s3"
  case $1 in alpha) number=11 ;; beta) number=12 ;; gamma) number=13 ;; esac
  ip link add "port$number" netns "$(<"$WORK/store/init.pid")" type veth peer name store0 netns "$(<"$ENGINE/init.pid")"
  on store machine_run ip link set "port$number" master hosts0 up
  machine_run sh -ec "ip address add 10.77.0.$number/24 dev store0; ip link set store0 up"
}
together "beginning" begin_host
for host in "${hosts[@]}"; do
  on "$host" davit_up RESTIC_REPOSITORY="$repository" AWS_ACCESS_KEY_ID=davit AWS_SECRET_ACCESS_KEY_FILE=/mnt/davit/data/secrets/s3 \
    RESTIC_PASSWORD_FILE=/mnt/davit/data/secrets/shared DAVIT_HOSTNAME="$host" DAVIT_SCHEDULE=off DAVIT_PRUNE_SCHEDULE=off \
    DAVIT_KEEP_LAST=-1
  [ "$host" != alpha ] || on alpha davit init
done
assert_eq "$(cat "$WORK"/*/data/installation | sort -u | wc -l)" 3 "installations"

# What a volume has depends on its host and number; a part of it is the same everywhere.
head -c 1000000 /dev/urandom >"$WORK/common"
fill_volume() { # DIRECTORY SEED
  local i
  cp "$WORK/common" "$1/common"
  head -c 300000 /dev/urandom >"$1/own"
  mkdir -p "$1/dir/deep"
  for ((i = 0; i < 20; i++)); do echo "$2 $i" >"$1/dir/$i"; done
  ln "$1/own" "$1/dir/hard"
  ln -s ../own "$1/dir/soft"
  mkfifo -m 640 "$1/dir/deep/fifo"
  chown -R 1000:1001 "$1/dir"
  chmod 2775 "$1/dir/deep"
  touch -d "2001-02-03 04:05:06.789" "$1/dir/7" "$1/dir"
}
make_volumes() {
  local i
  ENGINE=$WORK/$1
  for ((i = 1; i <= volumes; i++)); do
    engine volume create --driver davit "v$i" >/dev/null
    fill_volume "$(volume_directory "v$i")" "$1 $i"
  done
}
change_volumes() {
  local i
  for ((i = 1; i <= volumes; i++)); do
    echo "more of $1" >>"$WORK/$1/data/volumes/v$i/dir/3"
    head -c 50000 /dev/urandom >"$WORK/$1/data/volumes/v$i/new"
  done
}
all_volumes() { seq -f "v%g" $volumes; }
save_all() { # shellcheck disable=SC2046 # a list of words
  on "$1" davit -q backup $(all_volumes)
}

note "what will be pruned"
together "making volumes" make_volumes
on gamma engine volume create --driver davit -o final-backup=off junk >/dev/null
head -c 30000000 /dev/urandom >"$(on gamma volume_directory junk)/file"
on gamma davit -q backup junk
on gamma davit -q forget "$(on gamma snapshots_of junk)"
on gamma engine volume rm junk >/dev/null

note "3 x $volumes volumes are saved at once, and gamma prunes"
save_and_prune() {
  local pruning=""
  if [ "$1" = gamma ]; then
    on gamma davit -q prune &
    pruning=$!
  fi
  save_all "$1"
  [ -z "$pruning" ] || wait "$pruning"
}
together "saving" save_and_prune

note "volumes move from host to host, while they are saved again"
declare -A from=([alpha]=beta [beta]=gamma [gamma]=alpha)
describe() { # HOST VOLUME
  tree_manifest "$WORK/$1/data/volumes/$2"
}
for host in "${hosts[@]}"; do
  for ((i = 1; i <= volumes; i++)); do describe "$host" "v$i" >"$WORK/$host.v$i"; done
  change_volumes "$host"
done
move_and_save() {
  local i saving
  save_all "$1" &
  saving=$!
  ENGINE=$WORK/$1
  for ((i = 1; i <= volumes; i++)); do
    engine volume create --driver davit -o "from=${from[$1]}:v$i@${before[${from[$1]}:v$i]}" "moved-v$i" >/dev/null
  done
  for ((i = 1; i <= volumes; i++)); do davit -q wait "moved-v$i" >/dev/null; done
  wait $saving
}
# By their IDs, as newer ones are made meanwhile.
declare -A before
while read -r host volume id; do before[$host:$volume]=$id; done < <(
  on alpha davit_json snapshots -- 'select(.message_type == "snapshot") | "\(.hostname) \(.volume) \(.short_id)"')
assert_eq "${#before[@]}" $((3 * volumes)) "volumes that have snapshots"
together "moving" move_and_save
for host in "${hosts[@]}"; do
  for ((i = 1; i <= volumes; i++)); do
    describe "$host" "moved-v$i" | diff "$WORK/${from[$host]}.v$i" - >&2 || die "v$i changed on its way from ${from[$host]} to $host"
  done
done

note "all prune, and nothing is lost"
prune_all() { # whoever was overtaken by another's prune does nothing, and says so
  local said
  said=$(on "$1" davit -q prune 2>&1) || assert_contains "$said" "another prune" "what stopped the prune of $1"
}
together "pruning" prune_all
on beta davit -q prune
their_restic() {
  on store machine_run env AWS_ACCESS_KEY_ID=davit AWS_SECRET_ACCESS_KEY=davit-secret RESTIC_PASSWORD="the password of all" \
    restic -r "$repository" --no-cache -q "$@"
}
their_restic check --read-data >&2
for host in "${hosts[@]}"; do
  assert_eq "$(their_restic snapshots --json --host "$host" | jq length)" $((2 * volumes)) "snapshots of $host"
  their_restic restore latest --host "$host" --path /volumes/v7 --target "$WORK/restic-$host" >&2
  diff -r --no-dereference --exclude=fifo "$WORK/$host/data/volumes/v7" "$WORK/restic-$host/volumes/v7" >&2 ||
    die "restic restores something else of $host"
done
assert_eq "$(their_restic list locks --no-lock | wc -l)" 0 "locks that were left"
