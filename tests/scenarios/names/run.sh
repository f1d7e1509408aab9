#!/bin/bash
# Names: those that must be refused reach nothing, those that are fine are fine. Docker hands any name to the plugin unchecked.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin names

engine_up
engine_import_busybox
davit_up DAVIT_SCHEDULE=off
find "$WORK" -path "$ENGINE/docker" -prune -o -path "$ENGINE/podman" -prune -o -type d -print | sort >"$WORK.dirs"
long=$(printf 'n%.0s' $(seq 256))
for name in ../escape ../../escape a/b /abs . .. ' ' 'a b' -x .hidden _x 'q"uote' "tick'" $'new\nline' 'back\slash' über 'a:b' 'a@b' '%2e%2e' "$long"; do
  assert_fails "" engine volume create --driver davit -- "$name"
done
find "$WORK" -path "$ENGINE/docker" -prune -o -path "$ENGINE/podman" -prune -o -type d -print | sort | diff "$WORK.dirs" - >&2 ||
  die "a refused name left a directory"
rm "$WORK.dirs"
assert_eq "$(engine volume ls -q)" "" "volumes after refused names"

fine=(a1 0 x.y-z_1 UPPER "${long:1}")
for name in "${fine[@]}"; do
  [ ${#name} -gt 1 ] || name=$name$name # one letter is too short for some engines
  engine volume create --driver davit -- "$name" >/dev/null
  engine run --rm --network none -v "$name:/v" davit-test/busybox sh -c 'echo x >/v/x'
  davit backup -- "$name" >&2
  engine volume rm -- "$name" >/dev/null
  engine volume create --driver davit -o "from=$name" -- "$name" >/dev/null
  davit wait -- "$name" >&2
  assert_eq "$(<"$(volume_directory "$name")/x")" x "the content of volume ${name:0:20}"
done
