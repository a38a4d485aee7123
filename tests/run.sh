#!/bin/sh
# Runs all tests. Installs what only tests need: tools that look at the results from outside.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "tests/run.sh: run as root: the tests make namespaces, groups, mounts and links" >&2
    exit 1
fi

missing=""
need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need cc gcc
need ip iproute2
need findmnt util-linux
need ps procps
need busybox busybox-static
need skopeo skopeo
need umoci umoci
need strace strace
if [ -n "$missing" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086
    apt-get install -q -y --no-install-recommends $missing
fi

exec cargo test --features _fault "$@"
