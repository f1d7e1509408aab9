#!/bin/bash
# The service for Podman as it is installed: what the unit says is what runs, with no more than the capabilities that it names.
. "$(dirname "$0")/../../engines/engine.sh"
scenario_begin podman-unit

# start_unit FILE HOME RUNTIME: does what systemd does with ExecStart, Environment and CapabilityBoundingSet of the unit.
start_unit() {
  local unit home=$2 runtime=$3 line capabilities=() environment=() command
  unit=$(machine_run sed "s|%h|$home|g; s|%t|$runtime|g" "$1")
  while IFS= read -r line; do
    case $line in
      Environment=*) environment+=("${line#Environment=}") ;;
      ExecStart=*) read -ra command <<<"${line#ExecStart=}" ;;
      CapabilityBoundingSet=*)
        line=${line#CapabilityBoundingSet=}
        line=${line//CAP_/+}
        capabilities=(--bounding-set "-all,${line// /,}" --inh-caps -all --no-new-privs)
        capabilities[1]=$(tr '[:upper:]' '[:lower:]' <<<"${capabilities[1]}")
        ;;
    esac
  done <<<"$unit"
  [ ${#command[@]} -gt 0 ] || die "the unit $1 starts nothing"
  if engine_is rootless; then
    ENGINE_ENV=$(podman_user_environment) machine_spawn davitd \
      setpriv --reuid $TEST_UID --regid $TEST_UID --clear-groups env "${environment[@]}" "${command[@]}"
  else
    machine_spawn davitd setpriv "${capabilities[@]}" env "${environment[@]}" "${command[@]}"
  fi
}

engine_up
engine_import_busybox
mkdir "$(davit_data)"
if engine_is rootless; then
  chown $TEST_UID:$TEST_UID "$(davit_data)"
  home=$ENGINE/podman-home runtime=/run/user/$TEST_UID
  podman_as_user sh -c 'mkdir -p ~/.local/share && ln -s "$1" ~/.local/share/davit' sh "$(davit_data)"
  podman_as_user env DAVIT_BUILD="$DAVIT_BUILD" "$TOP/scripts/install-podman.sh" >&2
  podman_as_user mkdir -p "$runtime/davit" "$runtime/podman"
  unit=$home/.config/systemd/user/davit.service
else
  home=/root runtime=/run
  machine_run sh -c 'mkdir -p /var/lib/davit /run/davit && mount --bind "$1" /var/lib/davit' sh "$(davit_data)"
  machine_run env DAVIT_BUILD="$DAVIT_BUILD" "$TOP/scripts/install-podman.sh" >&2
  unit=/etc/systemd/system/davit.service
fi
podman_service_up
start_unit "$unit" "$home" "$runtime"
wait_until 30 "the daemon's answer" davit status

engine volume create --driver davit -o schedule=off data >/dev/null
fill data one
if ! engine_is rootless; then
  setfattr -n security.capability -v 0sAQAAAgAgAAAAAAAAAAAAAAAAAAA= "$(volume_directory data)/big"
  mknod "$(volume_directory data)/device" c 1 3
  chmod u+s "$(volume_directory data)/dir/9"
fi
davit backup data >&2
tree_manifest "$(volume_directory data)" >"$WORK/before"
engine volume rm data >/dev/null
engine volume create --driver davit -o from=data data >/dev/null
davit wait data >&2
tree_manifest "$(volume_directory data)" | diff "$WORK/before" - >&2 || die "the volume came back changed"
assert_eq "$(engine run --rm --network none -v data:/v davit-test/busybox cat /v/dir/7)" "one 7" "the volume in a container"

if engine_is rootless; then
  podman_as_user env DAVIT_BUILD="$DAVIT_BUILD" "$TOP/scripts/install-podman.sh" uninstall >&2
else
  machine_run "$TOP/scripts/install-podman.sh" uninstall >&2
fi
machine_run test ! -e "$unit"
[ -e "$(davit_data)/repository/config" ] || die "uninstall removed the repository"
