#!/bin/bash
# A container with most of what a container can have is saved, destroyed with its volume, network and images, and made again: its
# file system, its configuration and its data are the same. A copy beside it; conflicts; a trial; then the other kind of engine.
. "$(dirname "$0")/../../engines/engine.sh"
here=$(dirname "$0")
scenario_begin container-restore

declare -A OTHER=([docker-20.10]=podman-4.3 [docker-26.1]=podman-5.4 [podman-4.3]=docker-20.10 [podman-5.4]=docker-26.1)
mkdir -p "$WORK/site"
echo "from the host" >"$WORK/site/file"
gadget=/dev/davit-gadget-$$
code=0
trap 'code=$?; rm -f "$gadget"; (exit $code); scenario_end' EXIT

network_up() { engine network create --subnet 10.77.0.0/24 --gateway 10.77.0.1 --label a=b shopnet >/dev/null; }

# A file with a capability, as only an archive can bring it. (Docker's layers hold no other extended attributes.)
attributes() {
  python3 -c '
import sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
    entry = tarfile.TarInfo("srv/marked")
    entry.mode = 0o755
    entry.pax_headers = {"SCHILY.xattr.security.capability": "\x01\0\0\x02\0\x04" + "\0" * 14}
    archive.addfile(entry)'
}

make_web() {
  local arguments=(--name web --hostname weird -e A=1 -e "B=two words" -l app=shop -l davit.commit=true
    --network shopnet --ip 10.77.0.9 --network-alias www -p 127.0.0.1:8080:80/tcp --expose 7777
    -v data:/data -v "$WORK/site:/site:ro" --tmpfs "/scratch:size=1m,mode=1777"
    --restart on-failure:5 --memory 64m --memory-reservation 32m --cpu-shares 512 --pids-limit 100
    --cap-add SYS_PTRACE --cap-drop MKNOD --device /dev/null:/dev/mynull:rw
    --ulimit nofile=512:512 --ulimit nproc=1024:1024 --security-opt no-new-privileges
    --user 0:0 --workdir /tmp --stop-signal SIGKILL --stop-timeout 3 --shm-size 32m
    --dns 10.77.0.1 --add-host db:10.77.0.3 --group-add 20 --entrypoint /bin/sh)
  if engine_is docker; then
    arguments+=(--health-cmd 'test -e /data/answer' --health-interval 30s --health-retries 2
      --log-driver json-file --log-opt max-size=1m --sysctl net.ipv4.ip_forward=1 --domainname dom.example)
  fi
  engine create "${arguments[@]}" davit-test/busybox -c 'httpd -f -p 80 -h /data' >/dev/null
  engine start web >/dev/null
  engine exec web sh -ec '
    echo "42" >/data/answer
    echo changed >>/etc/profile
    rm /bin/xxd /bin/vi                               # whiteouts
    rm -r /srv/seed; mkdir /srv/seed; echo new >/srv/seed/other; chmod 2750 /srv/seed   # an opaque directory
    mkdir -p /opt/app; head -c 2000000 /dev/urandom >/opt/app/big
    ln /opt/app/big /opt/app/hard; ln -s ../big /opt/app/soft; ln -s /nowhere /opt/dangling
    chown 1234:5678 /opt/app/big; chmod 4711 /opt/app/big; chown -h 7:8 /opt/dangling
    mkfifo -m 640 /opt/fifo; touch -d "2001-02-03 04:05:06" /etc/profile; mkdir -m 700 "/opt/with  spaces"'
  attributes | engine cp - web:/
}

answer() { engine exec "$1" wget -q -O - http://127.0.0.1/answer; }
file_system() { engine export "$1" | python3 "$here/tree.py"; }

# What inspect says, without what differs from one container to the next of the same configuration.
configuration() {
  engine inspect "$1" | jq -S '.[0]
    | del(.Id, .Created, .Image, .ImageName, .ImageDigest, .State, .Name, .GraphDriver, .ExecIDs, .Pod, .ConmonPidFile,
          .PidFile, .OCIConfigPath, .StaticDir, .ResolvConfPath, .HostnamePath, .HostsPath, .LogPath, .Namespace,
          .Config.Image, .Config.CreateCommand, .Config.CreatedBy, .RestartCount, .BoundingCaps, .EffectiveCaps, .lockNumber,
          .HostConfig.LogConfig.Path, .HostConfig.CgroupConf, .HostConfig.Annotations, .HostConfig.ConsoleSize, .Config.Annotations,
          .HostConfig.ContainerIDFile, .HostConfig.VolumesFrom, .Config.AttachStdout, .Config.AttachStderr, .Config.Umask, .Config.HostsFile, .HostConfig.HostsFile, .HostsFile, .Config._systemd_mode, .Config.sdNotifyMode)
    | .Config.Labels |= with_entries(select(.key | test("^davit[.](point|container|image|host)$") | not))
    | .Config.Env |= sort
    | .NetworkSettings |= {Ports, Networks: (.Networks // {} | map_values({IPAMConfig, Links, IPAddress, DriverOpts,
        Aliases: ((.Aliases // []) | map(select(test("^[0-9a-f]{12}$") | not)) | unique)}))}
    | .Mounts |= sort_by(.Destination)
    | .HostConfig.Binds |= (. // [] | sort)
    | walk(if . == [] or . == {} then null elif type == "array" then sort_by(tojson) else . end)'
}
same() { # WHAT BEFORE AFTER
  diff "$2" "$3" >&2 || die "$1 differs after the restore"
}
everything() { # what there is, but for times
  engine ps -a --format '{{.Names}}' | sort
  engine images --format '{{.Repository}}:{{.Tag}}' | sort
  engine volume ls -q | sort
  engine network ls --format '{{.Name}}' | sort
}

engine_up
engine_import_busybox
davit_up
engine volume create --driver davit -o schedule=off data >/dev/null
network_up
make_web
assert_eq "$(answer web)" 42 "what the container serves"
davit backup --container web >&2
[ -z "$(everything | grep davit/web || true)" ] || die "the committed image is still in the engine"
file_system web >"$WORK/tree.before"
configuration web >"$WORK/configuration.before"
[ "$(wc -l <"$WORK/tree.before")" -gt 200 ] || die "the export is too small to prove anything"
grep -q 'SCHILY.xattr.security.capability' "$WORK/tree.before" || die "the attribute is not in the export"
grep -q '/opt/app/big opt/app/hard\|= opt/app/big opt/app/hard' "$WORK/tree.before" || die "the hard link is not in the export"

note "all that stands in the way is told at once, and nothing is made"
everything >"$WORK/everything"
if davit restore --container web --volumes point >"$WORK/out" 2>&1; then die "restored over a container that is there"; fi
conflicts=("a container web already" "port 127.0.0.1:8080/tcp is in use by the container web" "data is in use by web")
if engine_is docker; then conflicts+=("its fixed address 10.77.0.9"); fi # Podman does not tell that it is fixed
for word in "${conflicts[@]}"; do
  assert_contains "$(<"$WORK/out")" "$word" "conflicts"
done
same "what the engine has" "$WORK/everything" <(everything)

note "a copy beside it, with a volume of its own"
davit restore --container web --as copy --no-publish --start >&2
assert_eq "$(answer copy)" 42 "what the copy serves"
engine exec copy sh -c 'echo changed >/data/answer'
assert_eq "$(answer web)" 42 "the original after a change of the copy"
engine rm -f copy >/dev/null
engine volume rm copy-data >/dev/null

note "gone: the container, its volume, its network, its images"
engine rm -f web >/dev/null
engine volume rm data >/dev/null
engine network rm shopnet >/dev/null
while read -r image; do [ -z "$image" ] || engine rmi -f "$image" >/dev/null; done < <(engine images -q | sort -u)
everything >"$WORK/everything"

note "a trial makes nothing; a network that took its addresses, and a process that took its port, are told"
davit restore --container web --dry-run >"$WORK/out"
for word in "would be restored" "network  shopnet" "volume   data  restored"; do
  assert_contains "$(<"$WORK/out")" "$word" "trial"
done
same "what the engine has" "$WORK/everything" <(everything)
engine network create --subnet 10.77.0.0/16 rival >/dev/null
on_machines_network() { nsenter -t "$(<"$ENGINE/init.pid")" -n -- "$@"; }
on_machines_network setsid -f busybox nc -l -p 8080 >/dev/null 2>&1 </dev/null
listens() { on_machines_network cat /proc/net/tcp /proc/net/tcp6 | grep -q ':1F90 .* 0A '; }
wait_until 10 "the process at the port" listens
if davit restore --container web --dry-run >"$WORK/out" 2>&1; then die "no conflict with another network"; fi
if engine_is docker; then
  assert_contains "$(<"$WORK/out")" "overlaps with 10.77.0.0/16 of network rival" "conflicts"
fi
assert_contains "$(<"$WORK/out")" "port 127.0.0.1:8080/tcp is in use by a process of this host" "conflicts"
engine network rm rival >/dev/null
on_machines_network bash -c ': >/dev/tcp/127.0.0.1/8080' # it ends with its first caller
same "what the engine has" "$WORK/everything" <(everything)

note "back"
davit restore --container web --start >"$WORK/out"
cat "$WORK/out" >&2
assert_contains "$(<"$WORK/out")" "It runs." "restore"
assert_eq "$(answer web)" 42 "what the restored container serves"
configuration web >"$WORK/configuration.after"
same "its configuration" "$WORK/configuration.before" "$WORK/configuration.after"
file_system web >"$WORK/tree.after"
same "its file system" "$WORK/tree.before" "$WORK/tree.after"
[ -z "$(ls "$(davit_data)/state/restores" 2>/dev/null)" ] || die "the journal of a restore is left"

note "the container again, and its volume as it was"
engine exec web sh -c 'echo 43 >/data/answer'
engine rm -f web >/dev/null
davit restore --container web --volumes point --start >"$WORK/out"
assert_contains "$(<"$WORK/out")" "what was there before is kept as snapshot" "restore"
assert_eq "$(answer web)" 42 "what the container serves with the volume of the point"

note "a device that is not there any more"
mknod "$gadget" c 240 $(($$ % 1048576)) # Podman knows devices by their numbers: another run has another one
engine create --name gadget --network none --device "$gadget" -l davit.commit=true "$(engine inspect -f '{{.Config.Image}}' web)" >/dev/null
davit backup --container gadget >&2
engine rm gadget >/dev/null
rm "$gadget"
assert_fails "the device $gadget is not on this host" davit restore --container gadget
assert_fails "there is no snapshot of nobody" davit restore --container nobody
RESTIC_VERSION=0.18 repository_restic check --read-data >&2

note "the other kind of engine: ${OTHER[$DAVIT_ENGINE]}"
first=$ENGINE
machine_run sync
engine_down
DAVIT_ENGINE=${OTHER[$DAVIT_ENGINE]}
ENGINE=$WORK/other
mkdir -p "$ENGINE"
engine_up
davit_take_repository "$first"
davit_up DAVIT_HOSTNAME=other-machine
davit restore --container web --start >"$WORK/out"
cat "$WORK/out" >&2
assert_contains "$(<"$WORK/out")" "It runs." "restore on the other engine"
assert_eq "$(answer web)" 42 "what the container serves on the other engine"
assert_eq "$(engine exec web cat /site/file)" "from the host" "its bind mount"
assert_eq "$(engine exec web hostname)" weird "its host name"
file_system web >"$WORK/tree.other"
same "its file system" "$WORK/tree.before" "$WORK/tree.other"
