#!/bin/bash
# plugin.sh stage            puts the managed plugin together in build/plugin/: config.json and rootfs/
# plugin.sh create [NAME]    stages, then creates the plugin NAME (default davit) in the engine; one of that name must not be there
#
# The engine is the one that DOCKER_HOST names; DOCKER may name another command for `docker` (one or more words).
set -euo pipefail
top=$(realpath "$(dirname "$0")/..")
build=${DAVIT_BUILD:-$top/build/release}
davitd=$build/plugin/davitd
davit=$build/bin/davit
stage=${DAVIT_STAGE:-$top/build/plugin}
read -ra docker <<<"${DOCKER:-docker}"

# copy_libraries PROGRAM ROOT: every shared library it loads, and the loader, at the paths where it looks for them.
copy_libraries() {
  local libraries library
  libraries=$(ldd "$1") || return 0 # a static program
  if grep -F 'not found' <<<"$libraries" >&2; then exit 1; fi
  while read -r library; do
    mkdir -p "$2$(dirname "$library")"
    cp -L "$library" "$2$library"
  done < <(grep -oE '/[^ ]+' <<<"$libraries")
}

stage() {
  local program root=$stage.new/rootfs
  for program in "$davitd" "$davit"; do
    [ -x "$program" ] || { echo "not built: $program (cmake --build --preset release)" >&2; exit 1; }
  done
  rm -rf --one-file-system "$stage.new"
  mkdir -p "$root"/{usr/bin,usr/share,etc/ssl/certs,proc,sys,dev,run,mnt/davit,host/run,root,var}
  mkdir -m 1777 "$root/tmp"
  cp -R "$top/rootfs/." "$root/"
  cp "$top/config.json" "$stage.new/"
  for program in "$davitd" "$davit"; do
    copy_libraries "$program" "$root"
    install -m 755 "$program" "$root/usr/bin/"
    strip --strip-debug "$root/usr/bin/$(basename "$program")" # function names stay, for what a crash prints
  done
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  cp -R /usr/share/zoneinfo "$root/usr/share/"
  rm -rf "$root"/usr/share/zoneinfo/{posix,right,localtime}
  # What is in it, so that an installation knows whether it is this one. The second line is new each time: the engine refuses to
  # create a plugin whose root file system equals, byte for byte, that of another.
  {
    (cd "$stage.new" && find . -type f -print0 | sort -z | xargs -0 sha256sum) | sha256sum | cut -d ' ' -f 1
    cat /proc/sys/kernel/random/uuid
  } >"$stage.release"
  mv "$stage.release" "$root/etc/davit-release"
  rm -rf --one-file-system "$stage"
  mv "$stage.new" "$stage"
}

case ${1:-} in
  stage) stage ;;
  create)
    stage
    "${docker[@]}" plugin create "${2:-davit}" "$stage"
    ;;
  *)
    echo "usage: plugin.sh stage | create [NAME]" >&2
    exit 2
    ;;
esac
