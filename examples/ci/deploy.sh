#!/bin/sh
# Sends a source tree to a hostkit server, and ends with the exit code of the deploy:
#
#   sh deploy.sh [DIRECTORY]
#
# HOSTKIT_HOST         the server
# HOSTKIT_PROJECT      the project, which is also the user that the key logs in as
# HOSTKIT_KEY          the private key, as text: a secret of the CI
# HOSTKIT_KNOWN_HOSTS  the server's line of a known_hosts file: without it nothing is sent

set -eu
umask 077

: "${HOSTKIT_HOST:?is not set}" "${HOSTKIT_PROJECT:?is not set}"
: "${HOSTKIT_KEY:?is not set}" "${HOSTKIT_KNOWN_HOSTS:?is not set}"

work=$(mktemp -d)
deploy=
trap 'rm -rf "$work"' EXIT
trap 'stop 129' HUP
trap 'stop 130' INT
trap 'stop 143' TERM

stop() {
  if [ -n "$deploy" ]; then kill "$deploy" 2>/dev/null || true; fi
  exit "$1"
}

# A secret that was pasted on Windows has carriage returns, which ssh does not take.
printf '%s\n' "$HOSTKIT_KEY" | tr -d '\r' >"$work/key"
printf '%s\n' "$HOSTKIT_KNOWN_HOSTS" | tr -d '\r' >"$work/known_hosts"
unset HOSTKIT_KEY

# A file and no pipe, or a tar that failed would go unnoticed. `.git` may hold the CI's own token.
tar -czf "$work/source.tar.gz" -C "${1:-.}" --exclude=.git .

# In the background, because a shell hears no signal while it waits for a command in front.
ssh -F /dev/null -T -i "$work/key" \
  -o BatchMode=yes \
  -o IdentitiesOnly=yes \
  -o IdentityAgent=none \
  -o StrictHostKeyChecking=yes \
  -o UserKnownHostsFile="$work/known_hosts" \
  -o GlobalKnownHostsFile=/dev/null \
  -o ConnectTimeout=20 \
  -o ServerAliveInterval=15 \
  "$HOSTKIT_PROJECT@$HOSTKIT_HOST" hostkit deploy --archive - <"$work/source.tar.gz" &
deploy=$!
wait "$deploy"
