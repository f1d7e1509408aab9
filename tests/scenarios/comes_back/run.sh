#!/bin/bash
# A volume saves itself on its schedule, is destroyed, and comes back as it was; then again on a machine that has nothing but the
# repository and its password. The stock restic, old and new, agrees with every byte.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin comes-back

engine_up
engine_import_busybox
davit_up
engine volume create --driver davit -o schedule='@every 2s' -o keep-last=5 data >/dev/null
fill data one
newest() { snapshots_of data | tail -n 1; }
is_newer() { [ "$(newest)" != "$1" ]; }
for _ in 1 2; do # the first may have begun while the files were written
  last=$(newest)
  wait_until 60 "a scheduled backup after $last" is_newer "$last"
done
tree_manifest "$(volume_directory data)" >"$WORK/before"
[ "$(wc -l <"$WORK/before")" -gt 205 ] || die "the volume has too few files to prove anything"

note "destroy it, bring it back"
engine volume rm data >/dev/null
[ ! -e "$(volume_directory data)" ] || die "the removed volume still has its directory"
engine volume create --driver davit -o from=data -o schedule=off data >/dev/null
davit wait data
tree_manifest "$(volume_directory data)" >"$WORK/after"
diff "$WORK/before" "$WORK/after" >&2 || die "the volume came back changed"
assert_eq "$(engine run --rm --network none -v data:/v davit-test/busybox cat /v/dir/7)" "one 7" "a file of the volume that came back"

note "a change is saved, an older moment comes back beside it"
davit backup data
old=$(newest)
fill data two
davit backup data
engine volume create --driver davit -o "from=data@$old" -o schedule=off data-old >/dev/null
davit wait data-old
assert_eq "$(engine run --rm --network none -v data-old:/v davit-test/busybox cat /v/dir/7)" "one 7" "the older moment"
tree_manifest "$(volume_directory data)" >"$WORK/before"

note "references that cannot be leave nothing behind"
assert_fails "nothing" engine volume create --driver davit -o from=nothing ghost
assert_fails "" engine volume inspect ghost
assert_fails "colour" engine volume create --driver davit -o colour=blue ghost
assert_fails "schedule" engine volume create --driver davit -o schedule='61 * * * *' ghost
[ ! -e "$(volume_directory ghost)" ] || die "a refused volume left a directory"

note "what restic says"
for version in 0.14 0.18; do
  RESTIC_VERSION=$version repository_restic check --read-data >&2
done
for version in 0.14 0.18; do
  RESTIC_VERSION=$version repository_restic restore latest --path /volumes/data --target "$WORK/restic-$version" >&2
  restored=$WORK/restic-$version/volumes/data
  rm -f "$restored/fifo"
  diff -r --no-dereference --exclude=fifo "$(volume_directory data)" "$restored" >&2 || die "restic $version restores something else"
done

note "another machine, with the repository and its password only"
first=$ENGINE
machine_run sync
engine_down
ENGINE=$WORK/other
mkdir -p "$ENGINE"
engine_up
engine_import_busybox
davit_take_repository "$first"
davit_up DAVIT_HOSTNAME=other-machine
engine volume create --driver davit -o from=auto data >/dev/null
davit wait data
tree_manifest "$(volume_directory data)" >"$WORK/after"
diff "$WORK/before" "$WORK/after" >&2 || die "the volume came to the other machine changed"
