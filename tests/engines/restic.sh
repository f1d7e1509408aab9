#!/bin/bash
# restic.sh: prints the path of restic 0.18, Debian 13's, which this machine's libraries can run. Got once into the cache.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/images.sh"

build_restic_018() { # FILE
  local tree
  tree=$(cached debian-13 build_debian13) || exit
  cp "$tree/usr/bin/restic" "$1"
}

cached restic-0.18 build_restic_018
