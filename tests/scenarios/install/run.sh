#!/bin/bash
# `make install`, again and again: the second time changes nothing; a newer build replaces the plugin under running containers and keeps
# settings, volumes and snapshots; uninstall refuses while there are volumes, and leaves what was saved.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin install

script() { ENGINE_ENV="DAVIT_STAGE=$WORK/stage" machine_run "$TOP/scripts/$1" >&2; }
script_says() { script "$@" 2>&1; }
plugin_id() { engine plugin inspect -f '{{.Id}}' davit; }

engine_up
engine_import_busybox
davit_stage 1
mkdir "$(davit_data)"
machine_run sh -c 'mkdir -p /var/lib/davit && mount --bind "$1" /var/lib/davit && ln -sf /usr/share/zoneinfo/Europe/Berlin /etc/localtime' \
  sh "$(davit_data)"
script install.sh
id=$(plugin_id)
script install.sh
assert_eq "$(plugin_id)" "$id" "the plugin after a second installation"
assert_eq "$(engine davit --json config list | jq -r 'select(.key == "TZ") | .value')" Europe/Berlin "the zone, taken from the host"

engine volume create -d davit --label keep=me data >/dev/null
fill data one
engine davit backup data >&2
tree_manifest "$(volume_directory data)" >"$WORK/before"
engine run -d --stop-timeout 1 --name user --network none -v data:/v davit-test/busybox sleep 1000 >/dev/null
engine plugin disable -f davit >/dev/null
engine plugin set davit DAVIT_JOBS=3 'DAVIT_SCHEDULE=0 3 * * *'
engine plugin enable --timeout 0 davit >/dev/null

note "a newer build"
davit_stage 2
script install.sh
[ "$(plugin_id)" != "$id" ] || die "the newer build was not installed"
for setting in DAVIT_JOBS=3 'DAVIT_SCHEDULE=0 3 * * *'; do
  assert_eq "$(engine davit --json config list | jq -r "select(.key == \"${setting%%=*}\") | .value")" "${setting#*=}" "a setting"
done
assert_eq "$(engine volume inspect -f '{{index .Labels "keep"}}' data)" me "label of the volume"
tree_manifest "$(volume_directory data)" | diff "$WORK/before" - >&2 || die "the volume changed"
assert_eq "$(engine exec user cat /v/dir/7)" "one 7" "what the running container sees"
engine rm -f user >/dev/null
assert_eq "$(engine run --rm --network none -v data:/v davit-test/busybox cat /v/dir/7)" "one 7" "the volume"
assert_eq "$(snapshot_count data)" 1 "snapshots"

note "uninstall"
assert_fails "data" script_says uninstall.sh
engine volume rm data >/dev/null
script uninstall.sh
assert_fails "" engine plugin inspect davit
assert_fails "" machine_run test -e /usr/local/lib/docker/cli-plugins/docker-davit
[ -e "$(davit_data)/repository/config" ] || die "uninstall removed the repository"

note "and back"
script install.sh
engine volume create -d davit -o from=data data >/dev/null
engine davit wait data >&2
tree_manifest "$(volume_directory data)" | diff "$WORK/before" - >&2 || die "the volume came back changed"
