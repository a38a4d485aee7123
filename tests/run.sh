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
need nft nftables
need iptables iptables
need umoci umoci
need strace strace
need tmux tmux
need groff groff-base
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
# Containers of others, to be explained.
need runc runc
need crun crun
need podman podman
need bwrap bubblewrap
# Their files boot in the virtual machine; they need not run here.
need systemd-run systemd
need dbus-daemon dbus-daemon
if [ -n "$missing" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086
    apt-get install -q -y --no-install-recommends $missing
fi

# What could not run here is said by each test, and counted. Where CI is true it is an error. What an ordinary user was
# refused, as the list of `cshell doctor` says, is counted as well.
CSHELL_SKIPPED=$(mktemp)
CSHELL_REFUSED=$(mktemp)
export CSHELL_SKIPPED CSHELL_REFUSED
status=0
cargo test --features _fault "$@" || status=$?
if [ $# = 0 ]; then
    # The same files as an ordinary user: those that run the program, and those that call the library.
    echo "as an ordinary user:"
    CSHELL_TEST_AS=user cargo test --features _fault --test bad_input --test bridge --test cgroup --test cgroup_depth \
        --test cgroup_rhai --test check --test cleanup --test cli --test debug --test doctor --test errors --test escape \
        --test fs --test ns --test proc --test readme --test recipes --test repl --test rhai --test security --test streams \
        --test testrun --test tutorial --test userns || status=$?
    cargo test --features _fault --config "target.'cfg(target_os = \"linux\")'.runner = 'tests/as_user.sh'" \
        --test image --test net --test net_fault --test net_interrupt || status=$?
fi
for what in skipped:"$CSHELL_SKIPPED" refused:"$CSHELL_REFUSED"; do
    list=${what#*:}
    if [ -s "$list" ]; then
        echo "${what%%:*}: $(wc -l <"$list")"
        cat "$list"
    fi
    rm "$list"
done
exit $status
