#!/usr/bin/env bash
# manual.sh - there is a page for each program and command, and no reader of pages finds anything to say against one.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
for reader in mandoc groff; do
    command -v $reader >/dev/null || { echo "skipped: no $reader"; exit 77; }
done
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cp -r "$(dirname "$SEER_BIN")"/deploy/manual/man? "$folder" # as they were built
gunzip "$folder"/man?/*
pages=("$folder"/man?/*)
for page in seer.1 seer-worker.1 seer-bench-step.1 seer-server.8 seer-worker.8 seer-loader.8 everseer.yaml.5; do
    [ -s "$folder/man${page##*.}/$page" ] || { echo "no page $page"; exit 1; }
done
found=$(mandoc -T lint -W warning "${pages[@]}" 2>&1) || :
found+=$(groff -man -Tutf8 -ww -z "${pages[@]}" 2>&1)
[ -z "$found" ] || { echo "$found"; exit 1; }
echo "${#pages[@]} pages"
