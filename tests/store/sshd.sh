#!/bin/bash
# sshd.sh up DIR [LINE…]
#                     an SSH server with SFTP on a free port of loopback, for the user who starts it, everything in DIR; the
#                     lines come first in its configuration
# sshd.sh down DIR    ends it
#
# DIR/ssh says where it is, one KEY=VALUE a line, when it answers. It also ends when the process that started it does. Needs Debian's
# openssh-server and openssh-client (scripts/packages.sh test); exit code 77 where they are missing.
set -euo pipefail
dir=${2:?usage: sshd.sh up|down DIR}

end() { # once it is still the program that was started
  local pid
  pid=$(cat "$dir/sshd.pid" 2>/dev/null || true)
  if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = sshd ]; then kill -KILL "$pid" 2>/dev/null || true; fi
  rm -f "$dir/sshd.pid"
}
if [ "$1" = down ]; then
  end
  rm -rf "$dir"
  exit 0
fi

sshd=$(PATH=$PATH:/usr/sbin command -v sshd) && command -v ssh-keygen >/dev/null || {
  echo "no sshd: scripts/packages.sh test" >&2
  exit 77
}
end
rm -rf "$dir"
mkdir -p "$dir"
dir=$(realpath "$dir")
port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
key() { ssh-keygen -q -t "$1" -N "${3:-}" -C "$2" -f "$dir/$2"; } # KIND NAME [PASSPHRASE]
key ed25519 host-ed25519
key ecdsa host-ecdsa
key ed25519 user
key ecdsa locked 'a passphrase'
key ed25519 stranger
cat "$dir/user.pub" "$dir/locked.pub" >"$dir/authorized_keys"
printf '%s\n' "${@:3}" >"$dir/sshd_config"
cat >>"$dir/sshd_config" <<C
ListenAddress 127.0.0.1:$port
HostKey $dir/host-ed25519
HostKey $dir/host-ecdsa
AuthorizedKeysFile $dir/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
C
if [ "$(id -u)" -eq 0 ]; then mkdir -p /run/sshd; fi
setsid "$sshd" -D -e -f "$dir/sshd_config" >"$dir/log" 2>&1 </dev/null &
echo $! >"$dir/sshd.pid"
for ((i = 0; i < 100; i++)); do
  if [ -n "$(ssh-keyscan -T 2 -p "$port" 127.0.0.1 2>/dev/null)" ]; then break; fi
  [ $i -lt 99 ] || {
    echo "sshd does not answer; the end of its log:" >&2
    tail -n 5 "$dir/log" >&2
    end
    exit 1
  }
  sleep 0.1
done
for public in "$dir"/host-*.pub; do echo "[127.0.0.1]:$port $(cut -d ' ' -f 1,2 "$public")"; done >"$dir/known_hosts"

owner=$PPID
(while kill -0 "$owner" 2>/dev/null; do sleep 2; done; end) >/dev/null 2>&1 </dev/null &
cat >"$dir/ssh.new" <<C
PORT=$port
USER=$(id -un)
KEY=$dir/user
LOCKED_KEY=$dir/locked
PASSPHRASE=a passphrase
STRANGER_KEY=$dir/stranger
KNOWN_HOSTS=$dir/known_hosts
C
mv "$dir/ssh.new" "$dir/ssh"
