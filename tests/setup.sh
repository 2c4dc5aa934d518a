#!/usr/bin/env bash
# Installs what the suites need and is missing: Debian packages, libraries of npm, PyPI and Go below target/tools. Starts nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
leftovers=()
trap 'rm -rf "${leftovers[@]}"' EXIT

# command → Debian package
needs=(nginx:nginx haproxy:haproxy wrk:wrk curl:curl redis-server:redis-server redis-cli:redis-tools
  nghttp:nghttp2-client h2load:nghttp2-client nghttpd:nghttp2-server psql:postgresql-client nft:nftables
  iptables:iptables ip:iproute2 node:nodejs npm:npm python3:python3 pip3:python3-pip go:golang-go
  prlimit:util-linux setpriv:util-linux testssl:testssl.sh)
missing=()
for need in "${needs[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)

if ((${#missing[@]})); then
  if [[ $(id -u) != 0 ]]; then
    echo "tests/setup.sh: missing: ${missing[*]}. Fix: sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  # Packages start their services on installation unless a policy says no; 101 is "forbidden".
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    leftovers+=("$policy")
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [[ ! -d target/tools/node_modules/ws || ! -d target/tools/node_modules/@grpc/proto-loader ]]; then
  mkdir -p target/tools
  npm install --silent --no-audit --no-fund --prefix target/tools ws@8 @grpc/grpc-js@1 @grpc/proto-loader@0.8 >/dev/null ||
    { echo "tests/setup.sh: npm cannot install ws and grpc-js into target/tools; check the network or the npm registry setting" >&2; exit 1; }
fi

if [[ ! -d target/tools/python/grpc_tools || ! -d target/tools/python/h2 ]]; then
  pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --upgrade --target target/tools/python \
    'grpcio>=1.70,<2' 'grpcio-tools>=1.70,<2' 'protobuf>=6,<8' 'h2>=4.2,<5' ||
    { echo "tests/setup.sh: pip3 cannot install grpcio and h2 into target/tools/python; check the network or the setting of its index" >&2; exit 1; }
fi
PYTHONPATH=target/tools/python python3 -m grpc_tools.protoc -I tests/backends/grpc --python_out=target/tools/python \
  --grpc_python_out=target/tools/python testing.proto

mkdir -p target/tools/bin
# directory below tests/backends : package : program
for tool in routes-client:.:routes-client grpc-go:.:grpc-interop \
  h2spec:github.com/summerwind/h2spec/cmd/h2spec:h2spec h2spec:github.com/summerwind/h2spec/cmd/h2specd:h2specd; do
  IFS=: read -r directory package program <<<"$tool"
  go -C "tests/backends/$directory" build -o "$PWD/target/tools/bin/$program" "$package" ||
    { echo "tests/setup.sh: go cannot build tests/backends/$directory; check the network, GOPROXY, and that go is 1.23 or newer" >&2; exit 1; }
done

# A proxy of an earlier version, for what holds between versions. The first that follows a control service as it is today.
earlier=b04b6f13d40404b0ac7fb56e2d816b1795a6cd5c
if [[ ${SPURLINE_SKIP_EARLIER_PROXY:-} != 1 && ! -x target/tools/earlier/$earlier/spurline-proxy ]]; then
  git cat-file -e "$earlier^{commit}" 2>/dev/null ||
    { echo "tests/setup.sh: no commit $earlier here to build an earlier proxy from: clone with the history, or skip with SPURLINE_SKIP_EARLIER_PROXY=1" >&2; exit 1; }
  echo "tests/setup.sh: building the proxy of $earlier into target/tools, once; it takes a minute or two"
  mkdir -p "target/tools/earlier/$earlier"
  source=$(mktemp -d)
  leftovers+=("$source")
  git archive "$earlier" | tar -x -C "$source"
  CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0 \
    "${CARGO:-cargo}" build --quiet --locked --manifest-path "$source/Cargo.toml" --target-dir "$source/target" -p spurline-proxy
  cp "$source/target/debug/spurline-proxy" "target/tools/earlier/$earlier/"
  ln -sfn "$earlier/spurline-proxy" target/tools/earlier/spurline-proxy
fi
