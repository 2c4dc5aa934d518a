#!/usr/bin/env bash
# Installs what counting instructions needs and is missing: valgrind, from Debian. Starts nothing.
set -euo pipefail

if ! command -v valgrind >/dev/null; then
  if [[ $(id -u) != 0 ]]; then
    echo "bench/micro/setup.sh: missing: valgrind. Fix: sudo apt-get install -y --no-install-recommends valgrind" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind >/dev/null
fi
