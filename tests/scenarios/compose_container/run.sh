#!/bin/bash
# A compose project loses a container that was changed, its volume and its images. Volume and container come back, and the next
# `docker-compose up` takes them for its own: nothing is made anew. Where the service's image is another one, the container is.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin compose-container

engine_up
mkdir "$WORK/shop"
compose_says() { (cd "$WORK/shop" && machine_run docker-compose --ansi never "$@" 2>&1); }
compose() { compose_says "$@" >&2; }
driver=davit
# Compose 1 compares the name with what the engine calls the driver, and a volume's options with those in the file.
if [[ $(compose_says version --short) == 1.* ]]; then driver=davit:latest; fi
compares_options() { [ $driver = davit:latest ]; }

cat >"$WORK/shop/docker-compose.yml" <<C
version: "2.4"
services:
  db:
    image: davit-test/busybox
    command: httpd -f -p 80 -h /data
    stop_signal: SIGKILL
    labels: {davit.commit: "true"}
    volumes: ["data:/data"]
  web:
    image: davit-test/web
    command: sleep 100000
    stop_signal: SIGKILL
    depends_on: [db]
volumes:
  data:
    driver: $driver
    driver_opts: {schedule: "off", final-backup: "off", from: auto}
C
container_of() { engine ps -a --filter "label=com.docker.compose.service=$1" --format '{{.Names}}'; } # SERVICE
identity() { engine inspect "$db" | jq -r '.[0].Id'; }
labels() { engine inspect "$db" | jq -S '.[0].Config.Labels | with_entries(select(.key | startswith("com.docker.compose.")))'; }
create_volume() { engine volume create --driver davit -o schedule=off -o final-backup=off -o from=auto shop_data >/dev/null; }
answers() { [ "$(engine exec "$(container_of web)" wget -q -O - http://db/answer)" = 42 ]; }
has_all() { # the data, and what the container had changed
  wait_until 30 "the answer by the service's name" answers
  assert_eq "$(engine exec "$db" cat /etc/changed)" changed "the changed layer"
  assert_fails "/bin/vi" engine exec "$db" ls /bin/vi
}
lose_all() {
  local image
  compose down -v
  while read -r image; do [ -z "$image" ] || engine rmi -f "$image" >/dev/null; done < <(engine images -q | sort -u)
  assert_eq "$(engine ps -aq)$(engine images -aq)$(engine volume ls -q)" "" "what is left"
}

engine_import_busybox
engine tag davit-test/busybox davit-test/web
engine save -o "$WORK/registry.tar" davit-test/busybox davit-test/web # whence the same images can be had again
davit_up
compose up -d
db=$(container_of db)
engine exec "$db" sh -c 'echo 42 >/data/answer; echo changed >/etc/changed; rm /bin/vi'
has_all
labels >"$WORK/labels"
assert_contains "$(<"$WORK/labels")" com.docker.compose.config-hash "compose's labels"
davit backup shop_data >&2

note "lost, and brought back with two commands"
lose_all
create_volume
davit restore --container "$db" --start >&2
assert_eq "$(labels)" "$(<"$WORK/labels")" "compose's labels after the restore"
restored=$(identity)

note "up keeps what was restored, and makes the rest"
engine load -q -i "$WORK/registry.tar" >&2
compose up -d
assert_eq "$(identity)" "$restored" "the container after up"
has_all
compose stop
compose start
assert_eq "$(identity)" "$restored" "the container after stop and start"
has_all

note "the restore of the container alone makes the volume, too"
lose_all
davit restore --container "$db" --start >&2
restored=$(identity)
engine load -q -i "$WORK/registry.tar" >&2
if compares_options; then
  assert_fails driver_opt compose_says up -d
  sed -i.kept s/davit:latest/davit/ "$WORK/shop/docker-compose.yml"
  assert_fails "uses a different driver" compose_says up -d
  mv "$WORK/shop/docker-compose.yml.kept" "$WORK/shop/docker-compose.yml"
  compose start db
else
  said=$(compose_says up -d)
  [[ $said != *"not created by Docker Compose"* ]] || die "the volume is not compose's: $said"
  has_all
fi
assert_eq "$(identity)" "$restored" "the container after up"
assert_eq "$(engine exec "$db" cat /data/answer /etc/changed | tr '\n' ' ')" "42 changed " "what the container has"

note "the image of the service is not to be had any more: the committed one takes its name"
lose_all
create_volume
davit restore --container "$db" --start >&2
restored=$(identity)
engine load -q -i "$WORK/registry.tar" >&2
engine tag "$(engine inspect -f '{{.Config.Image}}' "$db")" davit-test/busybox
compose up -d
[ "$(identity)" != "$restored" ] || die "up kept a container of another image"
has_all
