# shellcheck shell=bash
# What the engines run, made from Debian's packages without any registry: built once in CACHE, imported into each engine.

engine_import_busybox() { engine_import busybox.tar build_busybox davit-test/busybox --change 'CMD ["sh"]'; }

# davit-test/postgres: its entry point initialises /var/lib/postgresql/data where that is empty and runs the server there.
engine_import_postgres() {
  engine_import postgres.tar build_postgres davit-test/postgres --change 'ENTRYPOINT ["/entrypoint"]' \
    --change 'VOLUME ["/var/lib/postgresql/data"]'
}

engine_import() { # ARCHIVE BUILDER IMAGE CHANGE…
  local archive name=$3
  archive=$(cached "$1" "$2") || exit
  shift 3
  engine import "$@" "$archive" "$name" >/dev/null
}

# engine_import_large MEGABYTES IMAGE: an image as a distribution's are: programs, libraries and documents (this machine's, a
# third each), many small files and some large ones; where there are too few, what does not compress fills up. And a busybox.
engine_import_large() {
  local archive=$WORK/large.tar
  build_large "$1" "$archive"
  engine import --change 'CMD ["/bin/busybox", "sleep", "100000"]' "$archive" "$2" >/dev/null
  rm "$archive"
}

build_large() { # MEGABYTES ARCHIVE
  local directory third=$(($1 * 1000000 / 3)) tree missing
  for directory in /usr/bin /usr/lib /usr/share; do
    find $directory -xdev -type f -size -32M -not -name '*[[:cntrl:]]*' -printf '%s\t%p\n' | LC_ALL=C sort -t $'\t' -k 2 |
      awk -F '\t' -v left=$third '$1 <= left { left -= $1; print $2 }'
  done | tar --no-recursion --verbatim-files-from -T - -P --transform 's,^/,,' --numeric-owner -cf "$2"
  tree=$(mktemp -d -p "$WORK")
  mkdir "$tree/bin"
  cp "$(command -v busybox)" "$tree/bin/busybox"
  ln -s busybox "$tree/bin/sh"
  missing=$(($1 * 1000000 - $(stat -c %s "$2")))
  [ $missing -lt 0 ] || head -c $missing /dev/urandom >"$tree/filler"
  tar -C "$tree" --numeric-owner -rf "$2" .
  rm -r "$tree"
}

build_busybox() { # ARCHIVE
  local tree applet
  tree=$(mktemp -d)
  mkdir -p "$tree"/{bin,etc,tmp,proc,sys,dev,root,srv/seed}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n' >"$tree/etc/passwd"
  printf 'root:x:0:\nuser:x:1000:\n' >"$tree/etc/group"
  chmod 1777 "$tree/tmp"
  echo "from the image" >"$tree/srv/seed/file" # what an empty volume at /srv/seed gets by copy-up
  chown -R 1000:1000 "$tree/srv/seed"
  chmod 750 "$tree/srv/seed"
  tar -C "$tree" --numeric-owner -cf "$1" .
  rm -rf "$tree"
}

build_postgres() { # ARCHIVE
  local tree suite=bookworm
  tree=$(mktemp -d -p "$CACHE")
  chmod 755 "$tree"
  debootstrap --variant=minbase --include=postgresql,tini "$suite" "$tree" "$(debian_mirror)" ||
    { rm -rf --one-file-system "$tree"; return 1; } # no -e here: cached asks how it ended
  rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,locale}/* \
    "$tree"/var/lib/postgresql/* "$tree"/usr/lib/llvm* "$tree"/usr/lib/x86_64-linux-gnu/libLLVM* "$tree"/usr/lib/postgresql/*/lib/bitcode
  cat >"$tree/entrypoint" <<'C'
#!/bin/sh
set -e
export PATH="$(echo /usr/lib/postgresql/*/bin):$PATH" LANG=C.UTF-8
data=/var/lib/postgresql/data
if [ "$(id -u)" = 0 ]; then
  mkdir -p $data /run/postgresql
  chown postgres:postgres $data /run/postgresql
  chmod 700 $data
  exec setpriv --reuid postgres --regid postgres --clear-groups "$0" "$@"
fi
[ -s $data/PG_VERSION ] || initdb -D $data --auth=trust --no-sync >/dev/null
exec postgres -D $data -c jit=off "$@"
C
  chmod 755 "$tree/entrypoint"
  tar -C "$tree" --numeric-owner --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* -cf "$1" .
  rm -rf --one-file-system "$tree"
}

# A package that the image of PostgreSQL does not have: an extension with a library of its own.
build_postgres_ip4r() { # PACKAGE
  local tree suite=bookworm
  tree=$(mktemp -d -p "$CACHE")
  debootstrap --download-only --variant=minbase --include=postgresql-15-ip4r "$suite" "$tree" "$(debian_mirror)" ||
    { rm -rf --one-file-system "$tree"; return 1; }
  mv "$tree"/var/cache/apt/archives/postgresql-15-ip4r_*.deb "$1"
  rm -rf --one-file-system "$tree"
}

# Newer engines and a newer restic than the host may have: Debian 13's packages in a tree of their own.
build_debian13() { # TREE
  debootstrap --variant=minbase \
    --include=docker.io,docker-cli,docker-compose,podman,iptables,iproute2,restic,ca-certificates,netavark,aardvark-dns,crun,runc,uidmap,fuse-overlayfs,slirp4netns,passt \
    trixie "$1" "$(debian_mirror)" || return
  rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/usr/share/{doc,man,locale}/*
}

# restic_018 ARGUMENT…: Debian 13's restic, with the host's files.
restic_018() {
  local tree
  tree=$(cached debian-13 build_debian13) || exit
  "$tree"/lib64/ld-linux-x86-64.so.2 --library-path "$tree/lib/x86_64-linux-gnu:$tree/usr/lib/x86_64-linux-gnu" "$tree/usr/bin/restic" "$@"
}
