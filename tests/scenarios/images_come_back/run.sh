#!/bin/bash
# `volume create -o from=` brings the image that was committed with the volume into the engine: Status tells, no image is loaded
# twice, `images=false` leaves it out, and what was loaded runs.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin images-come-back

committed() { engine images --format '{{.Repository}}:{{.Tag}}' | grep -E '(^|/)davit/' || true; }
image_of() { davit_json status -- "select(.message_type == \"volume\" and .name == \"$1\") | .images[]? | \"\(.image) \(.state)\""; } # VOLUME
knows_image() { [ -n "$(image_of "$1")" ]; }
is_loaded() { [ "$(image_of "$1")" = "$image loaded" ]; }
status_of() { engine volume inspect "$1" | jq -r '.[0].Status.images // empty'; } # VOLUME
loads() { cat "$ENGINE"/{dockerd,davitd}.log 2>/dev/null | grep -c 'loaded the image .*of the container app'; } # so many, says the log
has_loads() { [ "$(loads)" = "$1" ]; } # the log may come a little later
identity() { engine image inspect "$image" | jq -c '.[0] | [.Id, .Created, .Metadata.LastTagTime]'; }
from() { # NAME OPTION…: a volume from the point
  local name=$1
  shift
  engine volume create --driver davit -o schedule=off -o from="data@$point" "$@" "$name" >/dev/null
  davit wait "$name" >&2
  assert_eq "$(<"$(volume_directory "$name")/file")" "in the volume" "what $name holds"
}

engine_up
engine_import_busybox
davit_up DAVIT_SCHEDULE=off
engine volume create --driver davit data >/dev/null
engine run -d --stop-timeout 1 --name app --network none -l davit.commit=true -v data:/v davit-test/busybox sleep 100000 >/dev/null
engine exec app sh -c 'echo in the volume >/v/file; echo changed >/etc/changed; rm /bin/vi'
davit backup data >&2
point=$(snapshots_of data)
engine rm -f app >/dev/null
engine rmi davit-test/busybox >/dev/null
assert_eq "$(engine images -aq)" "" "images before any volume is made"

note "images=false loads none"
from without -o images=false
assert_eq "$(image_of without)$(status_of without)$(committed)" "" "images with images=false"
davit_json status -- 'select(.name == "without" and .images_owed)' | { ! grep . >&2; } || die "images are owed with images=false"

note "the image comes with the volume, and Status tells"
from one
wait_until 60 "what is known of the image" knows_image one
image=$(davit_json status -- 'select(.name == "one") | .images[0].image // empty')
wait_until 60 "the image $image as loaded" is_loaded one
assert_eq "$(committed)" "$image" "images in the engine"
assert_eq "$(status_of one)" "$image: loaded" "Status of the volume"
davit status | tr -s ' ' | grep -F "$image app one loaded" >&2 || die "davit status does not tell: $(davit status)"
wait_until 30 "the one load in the log" has_loads 1

note "it runs, and has what the container had"
run() { engine run --rm --network none "$image" "$@"; }
assert_eq "$(run cat /etc/changed)" changed "what the container changed"
assert_fails "vi" run ls /bin/vi

note "a second volume of the same point loads it not again"
before=$(identity)
from two
wait_until 60 "the image as loaded with the second volume" is_loaded two
assert_eq "$(status_of two)" "$image: loaded" "Status of the second volume"
assert_eq "$(identity)" "$before" "the image after the second volume"
assert_eq "$(loads)" 1 "loads after the second volume"
assert_eq "$(committed | wc -l)" 1 "images in the engine"

note "once it was removed, the next volume brings it back"
engine rmi "$image" >/dev/null
from three
wait_until 60 "the image as loaded with the third volume" is_loaded three
wait_until 30 "two loads in the log, not more" has_loads 2
assert_eq "$(run cat /etc/changed)" changed "what the container changed"
