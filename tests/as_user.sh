#!/bin/sh
# Runs a program as an ordinary user who is root of a user namespace with its subordinate ids: what `cshell` does before a
# script, for tests that call the library themselves. Nothing of the machine is changed.
# usage: as_user.sh PROGRAM [ARGS]
set -eu
if [ "${INSIDE:-}" = "" ]; then
    INSIDE=yes exec unshare --mount "$0" "$@"
fi
unset INSIDE
program=$1
shift
uid=65533
# The program may be where no user may go.
mount -t tmpfs -o mode=1777 as-user /mnt
cp "$program" /mnt/program
cp /etc/passwd /mnt/passwd
echo "cshell-tester:x:$uid:$uid::/mnt:/bin/sh" >>/mnt/passwd
echo "cshell-tester:500000:65536" >/mnt/ids
mount --bind /mnt/passwd /etc/passwd
mount --bind /mnt/ids /etc/subuid
mount --bind /mnt/ids /etc/subgid
cd /mnt
export TMPDIR=/mnt PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/mnt
exec setpriv --reuid $uid --regid $uid --clear-groups -- \
    unshare --user --mount --map-root-user --map-auto -- /mnt/program "$@"
