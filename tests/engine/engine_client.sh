#!/bin/bash
# engine_client.sh: our client of the engine's API against the real engine that DAVIT_ENGINE names, one client object for
# all of it. What docs/protocol.md says of engines' images is asserted here.
# shellcheck disable=SC2154 # gives sets what it names
. "$(dirname "$0")/../engines/engine.sh"
scenario_begin engine-client

program=${DAVIT_BUILD:?}/tests/engine/engine_probe
[ -x "$program" ] || cannot "no $program (ninja engine_probe)"
DOCKERD_ARGS=--live-restore # else it kills the containers that ran when it starts again
engine_up
engine_import_busybox
mkdir "$WORK/tmp"
ENGINE_ENV=TMPDIR=$WORK/tmp # a Podman that is killed leaves files there
service_up() { engine_is docker || podman_service_up; }
service_up
if engine_is docker; then socket=/run/docker.sock kind=docker; else socket=$(podman_socket) kind=podman; fi

# The machine's own socket, seen from here; calls go in at 3, answers come out at 4.
mkfifo "$WORK/calls" "$WORK/answers"
"$program" "unix:///proc/$(<"$ENGINE/init.pid")/root$socket" <"$WORK/calls" >"$WORK/answers" &
exec 3>"$WORK/calls" 4<"$WORK/answers"
tell() { local IFS=$'\t'; printf '%s\n' "$*" >&3; } # CALL WORD…
hear() { # prints what came of it
  local line
  while IFS= read -r -t 120 line <&4 || die "no answer"; do
    [ "$line" != . ] || return 0
    printf '%s\n' "$line"
  done
}
ask() { tell "$@"; hear; }
does() { # CALL WORD…: must succeed and print nothing
  assert_eq "$(ask "$@")" "" "$*"
}
gives() { # VARIABLE CALL WORD…: must succeed
  local -n given=$1
  shift
  given=$(ask "$@")
  case $given in '! '*) die "$*: $given" ;; esac
}
fails() { # KIND PART CALL WORD…
  local kind=$1 part=$2 answer
  shift 2
  answer=$(ask "$@")
  case $answer in "! $kind: "*"$part"*) ;; *) die "$*: must be '$kind' with '$part', is: $answer" ;; esac
}
frozen() { # CONTAINER-ID
  find /sys/fs/cgroup -path "*$1*" \( -name freezer.state -o -name cgroup.events \) -exec grep -lE '^FROZEN|^frozen 1' {} + 2>/dev/null | grep -q .
}

# ---- who it is, and who uses a volume
gives info info
read -r is version api arch _ store volumes _ <<<"$info"
assert_eq "$is $arch" "$kind $(dpkg --print-architecture)" "engine and architecture"
assert_contains ",$volumes," ,local, "volume drivers"
note "$info"
case $DAVIT_ENGINE in
  docker-20.10) assert_eq "$api $store" "1.41 graph" "API and store of $version" ;;
  docker-26.1) assert_eq "$api $store" "1.45 graph" "API and store of $version" ;;
  docker-26.1-containerd) assert_eq "$api $store" "1.45 containerd" "API and store of $version" ;;
  podman-*) assert_eq "$api $store" "1.41 graph" "API and store of $version" ;;
esac
engine volume create data >/dev/null
engine volume create database >/dev/null
busybox() { engine run -d --network none "$@" davit-test/busybox sleep 600 >/dev/null; }
busybox --name runs -v data:/data -l com.docker.compose.project=shop -l davit.commit=true
busybox --name unrelated -v database:/data
engine create --name never-ran --network none -v data:/d davit-test/busybox true >/dev/null
assert_eq "$(ask using data | sort)" "never-ran created - 64
runs running shop 64" "containers of the volume"
assert_eq "$(ask using nobody)" "" "containers of a volume that nobody uses"
assert_eq "$(ask list davit.commit=true)" "runs running shop 64" "containers by label"
assert_eq "$(ask list com.docker.compose.project)" "runs running shop 64" "containers by label's key"
assert_eq "$(ask list '' | wc -l)" 3 "all containers"
gives seen inspect runs
assert_contains "$seen" " running - data:local:/data" "description"
fails not-found "o such container" inspect nobody
gives id json runs
id=${id#*'"Id":"'}
id=${id%%'"'*}
fails not-found "" inspect "${id:0:6}" # the beginning of an ID is no name

# ---- commit: pause is as asked, what was paused stays paused, whatever runs or not can be committed
engine exec runs sh -c 'echo new >/new; head -c 3000000 /dev/urandom >/random; rm -r /srv/seed'
gives changes changes runs
assert_contains "$changes" '"/new"' "changes"
if engine_is podman || machine_run sh -c 'command -v ps' >/dev/null; then
  gives top top runs
  assert_contains "$top" "sleep 600" "processes"
else
  fails transient '"ps"' top runs # Docker asks the host's ps
fi
fails conflict "" top never-ran
name=localhost/davit/runs
gives image commit runs $name t1 1 davit.point=0123456789abcdef davit.container=runs 'davit.image=a b'
assert_contains "$(ask inspect runs)" " running - " "after a commit"
assert_contains "$(ask image $name:t1)" "$image $name:t1 $arch sized" "the committed image"
for label in davit.commit=true davit.point=0123456789abcdef davit.container=runs 'davit.image=a b' com.docker.compose.project=shop; do
  assert_contains "$(ask image $name:t1)" "
$label" "its labels"
done
fails not-found "" commit nobody $name t 1
fails usage "no name of an image" commit runs Davit/Runs t 1 davit.point=0
does pause runs
fails conflict "" pause runs
frozen "$id" || die "it is not frozen"
gives _ commit runs $name t2 1 davit.point=02
assert_contains "$(ask inspect runs)" " running paused " "after a commit while it was paused"
does unpause runs
fails conflict "not paused" unpause runs
gives _ commit never-ran $name t3 1 davit.point=03
assert_eq "$(ask dangling)" "" "images without a name"
assert_eq "$(ask images davit.point=02 | grep -c "$name:t2")" 1 "images by label"
assert_eq "$(ask images davit.point= | grep -c "^sha256:")" 3 "images by label's key"

# ---- save, remove, load
does save $name:t1 "$WORK/saved.tar" ""
members=$(tar -tvf "$WORK/saved.tar" | sed 's/ -> .*//; s/.* //' | sort)
tar -xOf "$WORK/saved.tar" manifest.json | grep -q "$name:t1" || die "no name in manifest.json"
layout=docker-archive
! grep -qx index.json <<<"$members" || layout=oci
! grep -q '/layer.tar$' <<<"$members" || layout+=,layers
[ "$(tar -tvf "$WORK/saved.tar" | grep -c '^l')" -eq 0 ] || layout+=,symlinks
! grep -qx repositories <<<"$members" || layout+=,repositories
case $DAVIT_ENGINE in
  docker-20.10) expected=docker-archive,layers,repositories ;;
  docker-26.1) expected=oci,repositories ;;
  docker-26.1-containerd) expected=oci ;;
  *) expected=docker-archive,layers,symlinks,repositories ;;
esac
assert_eq "$layout" "$expected" "layout of the image's stream"
fails not-found "" save $name:nothing "$WORK/x.tar" ""
does remove-image $name:t1
does remove-image $name:t1
assert_eq "$(ask image $name:t1)" "" "a removed image"
assert_eq "$(ask load "$WORK/saved.tar" "")" $name:t1 "what was loaded"
assert_contains "$(ask image $name:t1)" "$image $name:t1 $arch sized" "the loaded image is the same"
head -c 2000000 "$WORK/saved.tar" >"$WORK/cut.tar"
case $kind in
  docker) words="unexpected EOF" ;;
  podman) words="payload does not match" ;;
esac
fails io "$words" load "$WORK/cut.tar" ""
head -c 20000000 /dev/zero | tr '\0' x >"$WORK/junk.tar"
fails io "" load "$WORK/junk.tar" ""
: >"$WORK/nothing.tar"
fails io "" load "$WORK/nothing.tar" ""
does tag $name:t1 localhost/davit/other T.2
fails conflict "" remove-image "$image"
does tag "$image" localhost/davit/other T.3
does remove-image localhost/davit/other:T.2
does remove-image localhost/davit/other:T.3
fails not-found "" tag $name:nothing a b

# ---- networks, volumes
gives _ create-network '{"Name":"davit-net","Driver":"bridge","Internal":true,"Labels":{"a":"b"}}'
fails conflict "already" create-network '{"Name":"davit-net","Driver":"bridge"}'
assert_contains "$(ask networks)" davit-net "networks"
assert_contains "$(ask network davit-net)" '"Internal":true' "a network"
assert_eq "$(ask network davit-ne)" none "a network by a part of its name"
does create-volume '{"Name":"made","Driver":"local","Labels":{"a":"b"}}'
does create-volume '{"Name":"made","Driver":"local"}'
assert_contains "$(ask volume made)" '"a":"b"' "a volume"
assert_eq "$(ask volume unmade)" none "a volume that is not there"
fails not-found "nosuch" create-volume '{"Name":"other","Driver":"nosuch"}'
fails conflict "" remove-volume data

# ---- containers
body='{"Image":"'$name':t1","Cmd":["sleep","600"],"HostConfig":{"NetworkMode":"none","Binds":["made:/made"]}}'
gives copy create copy "$body"
fails conflict "in use" create copy "$body"
fails not-found "" create other '{"Image":"localhost/nosuch:x"}'
does start "$copy"
does start "$copy"
assert_contains "$(ask inspect copy)" "copy 64 $name:t1" "a container from the image"
assert_eq "$(engine exec copy sh -c 'cat /new; ls /srv')" new "what the committed image holds"
fails conflict "" remove-image $name:t1
fails conflict "" remove-volume made
fails conflict "" remove copy
does stop copy
does stop copy
does remove "$copy"
does remove "$copy"
does remove-volume made
does remove-volume made
if engine_is docker; then # Podman needs a packet filter for a network
  gives _ create copy "${body/'"NetworkMode":"none"'/'"NetworkMode":"davit-net"'}"
  assert_contains "$(ask inspect copy)" " davit-net" "its network"
  gives _ create-network '{"Name":"second","Driver":"bridge","Internal":true}'
  does connect second '{"Container":"copy"}'
  assert_contains "$(ask inspect copy)" " davit-net,second" "its networks"
  does remove-force copy
  does remove-volume made
  does remove-network second
fi
does remove-network davit-net
does remove-network davit-net

# ---- killed in the middle: a transient error that says so, and the next call works
does save $name:t1 "$WORK/whole.tar" ""
tell save $name:t1 "$WORK/part.tar" "$WORK/gate1"
read -r -t 60 line <&4
assert_eq "$line" streaming "a save under way"
engine_kill
touch "$WORK/gate1"
broken=$(hear)
assert_contains "$broken" "! transient: the engine's stream of the image $name:t1 broke off after " "a save when the engine is killed"
fails transient "annot connect" inspect runs
engine_is podman || engine_start
service_up
does save $name:t1 "$WORK/part.tar" ""
assert_eq "$(stat -c %s "$WORK/part.tar")" "$(stat -c %s "$WORK/whole.tar")" "size of a save by the next engine"

does remove-image $name:t1
tell load "$WORK/saved.tar" "$WORK/gate2"
read -r -t 60 line <&4
assert_eq "$line" streaming "a load under way"
engine_kill
touch "$WORK/gate2"
broken=$(hear)
assert_contains "$broken" "! transient: loading an image, after " "a load when the engine is killed"
engine_is podman || engine_start
service_up
assert_eq "$(ask image $name:t1)" "" "half a load"
assert_eq "$(ask dangling)" "" "images without a name after half a load"
assert_eq "$(ask load "$WORK/saved.tar" "")" $name:t1 "the load again"

engine exec runs sh -c 'head -c 250000000 /dev/urandom >/large'
gives started started runs
tell commit runs $name t4 1 davit.point=04
wait_until 60 "a container that is frozen by its commit" frozen "$id"
# Engines note it a moment later, and forget it for good if they die before: the container stays frozen and counts as running.
# Podman lets nobody ask until the commit ends.
noted() { [ "$(engine inspect -f '{{.State.Paused}}' runs)" = true ]; }
if engine_is docker; then wait_until 60 "the engine's note of it" noted; else sleep 0.3; fi
engine_kill
broken=$(hear)
assert_contains "$broken" "! transient: committing container runs: " "a commit when the engine is killed"
frozen "$id" || die "an engine that is killed in a commit leaves the container frozen: not so here"
engine_is podman || engine_start
service_up
assert_contains "$(ask inspect runs)" " running paused " "a container whose commit was killed"
assert_eq "$(ask started runs)" "$started" "since when it runs"
assert_eq "$(ask image $name:t4)" "" "half a commit"
does unpause runs
gives _ commit runs $name t4 1 davit.point=04

# ---- what Docker cannot read while it saves: an error in JSON behind half a tar, or members that are left out
if engine_is docker; then
  tell save $name:t4 "$WORK/part.tar" "$WORK/gate3"
  read -r -t 60 line <&4
  assert_eq "$line" streaming "a save under way"
  if engine_is containerd; then
    find "$ENGINE/docker/containerd" -path '*/blobs/sha256/*' -type f -delete
    touch "$WORK/gate3"
    broken=$(hear)
    assert_contains "$broken" "! transient: the engine's stream of the image $name:t4 broke off after " "a save of a broken store"
    assert_contains "$broken" "failed to copy to tar" "the engine's words"
  else
    rm -r "$ENGINE"/docker/tmp/docker-export-*
    touch "$WORK/gate3"
    assert_eq "$(hear)" "" "a save whose files have gone"
    ! tar -tf "$WORK/part.tar" | grep -qx manifest.json || die "the manifest is there: docs/protocol.md says otherwise"
  fi
fi
exec 3>&-
engine_down
