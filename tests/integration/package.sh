#!/usr/bin/env bash
# package.sh - `cpack` makes a Debian package of this build, lintian has nothing to say against it, and what it installs works:
# in a folder; with SEER_TEST_LONG in a fresh Debian, as a person would install it.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
build=$(dirname "$SEER_BIN")
for tool in cpack lintian dpkg-deb; do
    command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
grep -qx 'CMAKE_BUILD_TYPE:STRING=Release' "$build/CMakeCache.txt" || { echo 'skipped: not a release build'; exit 77; }

folder=$(mktemp -d)
trap 'rm -rf --one-file-system "$folder"' EXIT
cpack -G DEB --config "$build/CPackConfig.cmake" -B "$folder" >"$folder/cpack.log" 2>&1 || { cat "$folder/cpack.log"; exit 1; }
packages=("$folder"/everseer*_*.deb)
package=${packages[0]}
dpkg-deb -f "$package" Package Version Depends
complaints=$(lintian --no-cfg --allow-root "$package")
[ -z "$complaints" ] || { echo "$complaints"; exit 1; }
# Of CMake, Debian and the pages there is one version.
[ "$(dpkg-deb -f "$package" Version)" = "$(sed -n '1s/.*(\(.*\)).*/\1/p' "$SEER_SOURCE/deploy/debian/changelog")" ]

# Somewhere else than its prefix: nothing but the helper's place relative to the programs may matter.
root=$folder/root
dpkg-deb -x "$package" "$root"
"$root/usr/bin/seer" --help >/dev/null
"$root/usr/bin/seer" bench allreduce --members 2 --runs 1 >/dev/null # starts the helper
if [ -d /usr/share/datasets/fashion-mnist ]; then
    "$root/usr/bin/seer" demo --pictures 300 --steps 2 >"$folder/demo.log"
    grep -q '^audit: 256 images trained, 0 lost' "$folder/demo.log"
fi
grep -q '^ExecStart=/usr/bin/seer-server ' "$root/usr/lib/systemd/system/seer-server@.service"
DESTDIR=$folder/elsewhere cmake --install "$build" --prefix /opt/everseer >"$folder/install.log"
grep -q '^ExecStart=/opt/everseer/bin/seer-server ' "$folder/elsewhere/opt/everseer/lib/systemd/system/seer-server@.service"

[ -n "${SEER_TEST_LONG-}" ] || exit 0
command -v debootstrap >/dev/null || { echo 'the rest is skipped: no debootstrap'; exit 0; }
[ "$(id -u)" -eq 0 ] || { echo 'the rest is skipped: not root'; exit 0; }
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
fresh=$folder/fresh
debootstrap --variant=minbase "$codename" "$fresh" >"$folder/debootstrap.log" 2>&1 || { tail "$folder/debootstrap.log"; exit 1; }
cp "$package" "$fresh/tmp/"
cp "$SEER_SOURCE/tests/integration/tiny.yaml" "$fresh/tmp/"
cp /etc/resolv.conf "$fresh/etc/"
[ ! -d /usr/share/datasets/fashion-mnist ] || "$SEER_BIN/colour-fashion" "$fresh/tmp/pictures" --train 128 --test 16 >/dev/null
# The rest is a person's first minutes, with nothing of this session's; mounts of its own end with it.
# shellcheck disable=SC2016 # expanded there
unshare --mount sh -ec 'mount -t proc proc "$1/proc"; mount -t tmpfs tmpfs "$1/dev/shm"; exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$1" bash -ec "$2"' try "$fresh" '
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd-standalone-sysusers jq /tmp/everseer*.deb >/dev/null
    getent passwd everseer
    seer --help | head -n 1
    seer-server --version
    seer config check /usr/share/doc/everseer/examples/configs/demo_cpu.yaml
    cd /tmp
    if [ -d pictures ]; then
        start=${EPOCHREALTIME//[.,]/}
        seer ingest pictures/*-train.tar --labels cls --store store --quiet
        /usr/share/doc/everseer/examples/local_cluster.sh --config tiny.yaml --run run --workers 2 --store store --steps 1
        echo "first step $(((${EPOCHREALTIME//[.,]/} - start) / 1000)) ms after pictures were there"
        seer audit run
    fi
    apt-get remove -y -qq everseer >/dev/null
    [ ! -e /usr/bin/seer ]'
