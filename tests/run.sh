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
need cc "gcc libc6-dev"
need ip iproute2
need findmnt util-linux
need ps procps
need busybox busybox-static
need skopeo skopeo
need umoci umoci
need strace strace
need qemu-system-x86_64 qemu-system-x86
need modprobe kmod
need strip binutils
need xz xz-utils
need apparmor_parser apparmor
need capsh libcap2-bin
need setpriv util-linux
need newuidmap uidmap
need fuse-overlayfs fuse-overlayfs
need pasta passt
need slirp4netns slirp4netns
# Their files boot in the virtual machine; they need not run here.
need systemd-run systemd
need dbus-daemon dbus-daemon
if [ -n "$missing" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086
    apt-get install -q -y --no-install-recommends $missing
fi

# What could not run here is said by each test, and counted. Where CI is true it is an error.
CSHELL_SKIPPED=$(mktemp)
export CSHELL_SKIPPED
status=0
cargo test --features _fault "$@" || status=$?
if [ -s "$CSHELL_SKIPPED" ]; then
    echo "skipped: $(wc -l <"$CSHELL_SKIPPED")"
    cat "$CSHELL_SKIPPED"
fi
rm "$CSHELL_SKIPPED"
exit $status
