#!/bin/bash
# ceph.sh up DIR [ADDRESS]   a Ceph of one host (monitor, OSD in memory, S3 gateway) on free ports of loopback, everything in DIR;
#                            the gateway on ADDRESS, where one is given
# ceph.sh down DIR           ends it
#
# DIR/s3 says where it is, one KEY=VALUE a line, when it answers. Tests may start further gateways on it (support/ceph_gateway.h), and note
# them as DIR/run/radosgw.PORT.pid. It also ends when the process that started it does. Needs Debian's
# ceph-mon, ceph-osd, ceph-common and radosgw (scripts/packages.sh test); exit code 77 where they are missing. Hosts of buckets:
# BUCKET.s3.localhost, which curl knows to be loopback.
set -euo pipefail
dir=${2:?usage: ceph.sh up|down DIR [ADDRESS]}
address=${3:-127.0.0.1}

end() { # by the process numbers that were noted, once each is still the program that was started
  local file pid program
  for file in "$dir"/run/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    program=${file##*/}
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "${program%%.*}" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
    rm -f "$file"
  done
}
if [ "$1" = down ]; then
  end
  rm -rf "$dir"
  exit 0
fi

for program in ceph-mon ceph-osd ceph radosgw radosgw-admin; do
  command -v $program >/dev/null || { echo "no $program: scripts/packages.sh test" >&2; exit 77; }
done
end
rm -rf "$dir"
mkdir -p "$dir"/{mon,osd,run,log}
dir=$(realpath "$dir")
read -r mon1 mon2 http https < <(python3 -c 'import socket
import sys
all = [socket.create_server((host, 0)) for host in ["127.0.0.1"] * 2 + [sys.argv[1]] * 2]
print(*[s.getsockname()[1] for s in all])' "$address")
fsid=$(cat /proc/sys/kernel/random/uuid)
osd=$(cat /proc/sys/kernel/random/uuid)
addresses="[v2:127.0.0.1:$mon2,v1:127.0.0.1:$mon1]"
cat >"$dir/ceph.conf" <<C
[global]
fsid = $fsid
mon host = $addresses
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
paxos propose interval = 0.02
paxos min wait = 0.01
keyring = $dir/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
osd objectstore = memstore
memstore device bytes = ${DAVIT_CEPH_BYTES:-4294967296}
run dir = $dir/run
admin socket =
pid file =
log file = $dir/log/\$name.log
mon data = $dir/mon
osd data = $dir/osd
osd heartbeat grace = 600
rgw frontends = beast tcp_nodelay=1 endpoint=$address:$http ssl_endpoint=$address:$https ssl_certificate=$dir/server.pem ssl_private_key=$dir/server.key
rgw dns name = s3.localhost
rgw run sync thread = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
rgw thread pool size = 32
C

start() { # PROGRAM ARGUMENT…: beside us, and noted
  setsid "$1" -c "$dir/ceph.conf" "${@:2}" -f >"$dir/log/$1.out" 2>&1 </dev/null &
  echo $! >"$dir/run/$1.pid"
}
give_up() {
  echo "$1; the ends of its logs:" >&2
  tail -n 5 "$dir"/log/* >&2
  end
  exit 1
}
trap 'give_up "Ceph did not start (line $LINENO)"' ERR

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=davit-test -keyout "$dir/server.key" \
  -out "$dir/server.pem" -addext "subjectAltName=IP:$address,DNS:localhost,DNS:s3.localhost,DNS:*.s3.localhost" 2>/dev/null
ceph-authtool -C "$dir/keyring" -g -n mon. --cap mon 'allow *' >/dev/null
ceph-authtool "$dir/keyring" -g -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
ceph-authtool "$dir/keyring" -g -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd' >/dev/null
monmaptool --create --addv a "$addresses" --fsid "$fsid" "$dir/monmap" >/dev/null
ceph-mon -c "$dir/ceph.conf" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
start ceph-mon -i a
timeout 60 ceph -c "$dir/ceph.conf" osd new "$osd" 0 >/dev/null
timeout 60 ceph -c "$dir/ceph.conf" auth import -i "$dir/keyring" 2>/dev/null
ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$osd" >"$dir/log/mkfs" 2>&1
start ceph-osd -i 0
user() { # NAME: its key is NAME, its secret NAME-secret
  timeout 60 radosgw-admin -c "$dir/ceph.conf" user create --uid "$1" --display-name "$1" --access-key "$1" \
    --secret-key "$1-secret" >/dev/null 2>"$dir/log/user"
}
user davit
user stranger
start radosgw -n client.admin
for ((i = 0; i < 300; i++)); do
  if curl -fs -m 2 "http://$address:$http/" >/dev/null; then break; fi
  [ $i -lt 299 ] || give_up "the S3 gateway does not answer"
  sleep 0.1
done

owner=$PPID
(while kill -0 "$owner" 2>/dev/null; do sleep 2; done; end) >/dev/null 2>&1 </dev/null &
cat >"$dir/s3.new" <<C
HTTP=$address:$http
HTTPS=$address:$https
NAMED=s3.localhost:$http
CA=$dir/server.pem
C
mv "$dir/s3.new" "$dir/s3"
