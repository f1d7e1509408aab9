#!/bin/bash
# `docker-compose up` on an empty machine brings an application back with its data: `from: auto`. A store that cannot be
# read makes it fail, rather than begin with nothing.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin compose

mkdir "$WORK/shop"
cat >"$WORK/shop/docker-compose.yml" <<'C'
version: "2.4"
services:
  web:
    image: davit-test/busybox
    network_mode: none
    command: sh -c 'echo start >>/data/log; exec sleep 1000'
    volumes: ["files:/data"]
volumes:
  files:
    driver: davit
    driver_opts: {schedule: "off", from: auto}
C
compose() { (cd "$WORK/shop" && machine_run docker-compose --ansi never "$@") >&2; }
started() { [ "$(grep -c start "$(volume_directory shop_files)/log")" = "$1" ]; } # COUNT

engine_up
engine_import_busybox
davit_up
compose up -d
wait_until 30 "the first start, in an empty volume" started 1
davit backup shop_files
compose down -v
compose up -d
wait_until 30 "the second start: after down -v, up brings the data back" started 2
compose stop
davit backup shop_files
compose down

first=$ENGINE
engine_down
ENGINE=$WORK/empty
mkdir "$ENGINE"
engine_up
engine_import_busybox
davit_take_repository "$first"
echo wrong >"$(davit_data)/secrets/repository-password"
davit_up DAVIT_HOSTNAME=other-machine
compose_says() { (cd "$WORK/shop" && machine_run docker-compose --ansi never "$@" 2>&1); }
assert_fails "password" compose_says up -d
[ ! -e "$(volume_directory shop_files)" ] || die "auto made an empty volume though it could not read the repository"

note "the right password"
cp -a "$first/data/secrets/repository-password" "$(davit_data)/secrets/"
davit_kill
compose up -d
davit wait shop_files
wait_until 30 "the third start, with the data of the two before" started 3
