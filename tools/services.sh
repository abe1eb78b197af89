#!/usr/bin/env bash
# Installs the servers that tests and `make bench` start themselves, where they are missing: on Debian, as root. It starts none
# of them. Elsewhere it says what to install. It always ends with 0: whether a missing server is an error is for those to say
# who need it.
set -euo pipefail

POLICY=/usr/sbin/policy-rc.d

redis_is_here() {
  local version
  command -v redis-server >/dev/null || return 1
  version=$(redis-server --version) || return 1
  [[ $version =~ v=([0-9]+)\. ]] && ((BASH_REMATCH[1] >= 7))
}

# Debian keeps the server off the PATH, in a folder that is named for its version.
postgres_is_here() {
  local server version
  for server in /usr/lib/postgresql/*/bin/postgres; do
    version=${server#/usr/lib/postgresql/}
    version=${version%%/*}
    if [[ -x $server && $version =~ ^[0-9]+$ ]] && ((version >= 15)); then return 0; fi
  done
  command -v postgres >/dev/null && [[ $(postgres --version) =~ \ ([0-9]+) ]] && ((BASH_REMATCH[1] >= 15))
}

h2load_is_here() { command -v h2load >/dev/null; }

missing_packages() {
  redis_is_here || echo redis-server
  postgres_is_here || echo postgresql
  h2load_is_here || echo nghttp2-client
}

say_missing() {
  local package
  for package in "$@"; do
    case $package in
      redis-server) echo "missing: redis-server 7 or newer (Debian's package redis-server)" ;;
      postgresql) echo "missing: PostgreSQL's server 15 or newer (Debian's package postgresql)" ;;
      nghttp2-client) echo "missing: h2load (Debian's package nghttp2-client)" ;;
    esac
  done >&2
}

# Debian starts what it installs, unless this file forbids it.
refuse_to_start() {
  if [[ -e $POLICY ]]; then return; fi
  trap 'rm -f "$POLICY"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$POLICY"
  chmod +x "$POLICY"
}

install_packages() {
  local apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=1 -o Acquire::http::Timeout=30)
  export DEBIAN_FRONTEND=noninteractive
  echo "installing $*" >&2
  "${apt[@]}" install --no-install-recommends "$@" >/dev/null 2>&1 && return
  "${apt[@]}" update >/dev/null && "${apt[@]}" install --no-install-recommends "$@" >/dev/null
}

mapfile -t missing < <(missing_packages)
if ((${#missing[@]} == 0)); then exit 0; fi

if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  refuse_to_start
  install_packages "${missing[@]}" || echo "apt-get could not install ${missing[*]}" >&2
  mapfile -t missing < <(missing_packages)
fi
say_missing "${missing[@]}"
