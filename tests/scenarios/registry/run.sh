#!/bin/bash
# The plugin goes to a registry and is installed from there, as users do it; and is upgraded from there.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin registry

engine_up
engine_import_busybox
engine_registry_up
name=127.0.0.1:5000/davit/davit
for version in 1 2; do
  davit_stage $version
  engine plugin create $name:$version "$WORK/stage" >/dev/null
  engine plugin push $name:$version >/dev/null
  engine plugin rm $name:$version >/dev/null
done

mkdir -m 700 "$(davit_data)"
engine plugin install --grant-all-permissions --alias davit $name:1 "data.source=$(davit_data)" DAVIT_SCHEDULE=off >/dev/null
wait_until 30 "the daemon's answer" davit status
assert_eq "$(davit_json config list -- 'select(.key == "DAVIT_SCHEDULE") | .value')" off "a setting given at installation"
engine volume create --driver davit --label keep=me data >/dev/null
fill data one
davit backup data
tree_manifest "$(volume_directory data)" >"$WORK/before"
engine run -d --stop-timeout 1 --name user --network none -v data:/v davit-test/busybox sleep 1000 >/dev/null

note "upgrade, with a container that uses the volume"
engine plugin disable -f davit >/dev/null
engine plugin upgrade --grant-all-permissions --skip-remote-check davit $name:2 >/dev/null

# The upgrade has put the mount's source back to /var/lib/davit, silently: the daemon must not answer for a directory that is not
# its own, or the engine would forget every volume.
machine_run mkdir -p -m 700 /var/lib/davit
engine plugin enable --timeout 5 davit >/dev/null 2>&1 || true
engine volume inspect data >/dev/null 2>&1 || true
engine plugin disable -f davit >/dev/null 2>&1 || true
[ -z "$(machine_run find /var/lib/davit -mindepth 1 -name volumes)" ] || die "it began anew in a foreign data directory"

engine plugin set davit "data.source=$(davit_data)"
engine plugin enable --timeout 0 davit >/dev/null
wait_until 30 "the daemon's answer after the upgrade" davit status
assert_eq "$(engine volume ls -q)" data "volumes after the upgrade"
assert_eq "$(engine volume inspect -f '{{index .Labels "keep"}}' data)" me "label of the volume after the upgrade"
assert_eq "$(engine exec user cat /v/dir/7)" "one 7" "what the running container sees"
tree_manifest "$(volume_directory data)" >"$WORK/after"
diff "$WORK/before" "$WORK/after" >&2 || die "the upgrade changed the volume"
engine rm -f user >/dev/null
assert_eq "$(engine run --rm --network none -v data:/v davit-test/busybox cat /v/dir/7)" "one 7" "the volume after the upgrade"
[ "$(snapshot_count data)" -ge 1 ] || die "the upgrade lost the snapshots"
