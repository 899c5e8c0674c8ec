#!/usr/bin/env bash
# A small Debian as a tar file: base.sh FILE. From this machine's own package sources, and with the certificate
# authorities that were added to it, so that pip and npm inside a build trust what they trust outside.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/sources"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    ! grep -qs debian "$file" || cp "$file" "$work/sources"
done
[ -n "$(ls "$work/sources")" ] || { echo "no Debian package source in /etc/apt" >&2; exit 1; }
[ -w /dev/shm ] && export TMPDIR=/dev/shm  # some 10,000 small files: twice as quick in memory
. /etc/os-release
mmdebstrap --variant=minbase --include=ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --aptopt='APT::Install-Recommends "false"' \
    --customize-hook='mkdir -p "$1/usr/local/share/ca-certificates"' \
    --customize-hook='cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || true' \
    --customize-hook='chroot "$1" update-ca-certificates' \
    --customize-hook='echo "DPkg::Post-Invoke {\"rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin\";};" >"$1/etc/apt/apt.conf.d/99clean"' \
    "$VERSION_CODENAME" "$1" "$work"/sources/*
