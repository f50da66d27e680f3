#!/usr/bin/env bash
# make.sh - writes the manual: a page for each program and each command of `seer`, as the programs themselves print them.
#
#   deploy/manual/make.sh BIN OUT      OUT/man1, OUT/man5, OUT/man8, compressed as Debian wants it
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
bin=$1 out=$2
rm -rf "$out"
mkdir -p "$out"/man{1,5,8}

pages_of() { # WORD...: seer, or a command with commands of its own
    local command name
    name=$(IFS=- && echo "$*")
    "$bin/$1" "${@:2}" --help=man >"$out/man1/$name.1"
    while IFS= read -r command; do
        pages_of "$@" "$command"
    done < <("$bin/$1" "${@:2}" --help=words | awk -F'\t' '$1 == "command" { print $2 }')
}

pages_of seer
for daemon in server worker loader; do
    "$bin/seer-$daemon" --help=man >"$out/man8/seer-$daemon.8"
done
# Every key of a config, as the table of the code has it; of its head the rest is taken from the page of `seer config`.
{
    "$bin/seer" config --help=man | sed -n '1s/SEER..*CONFIG 1/EVERSEER.YAML 5/p'
    cat <<'TROFF'
.SH NAME
everseer.yaml \- the config of a training run: every key, with meaning, range, unit and default
.SH DESCRIPTION
A file needs only the keys that differ.
.B seer config check
says whether a file is a config,
.B seer config show
what a run would be told.
.SH KEYS
.EX
TROFF
    "$bin/seer" config show --reference | sed -e '1,/^$/d' -e 's/\\/\\e/g' -e "s/'/\\\\(aq/g" -e 's/-/\\-/g' -e 's/^\./\\\&./'
    cat <<'TROFF'
.EE
.SH SEE ALSO
.BR seer\-config (1),
.BR seer\-server (8)
TROFF
} >"$out/man5/everseer.yaml.5"
gzip -9n "$out"/man?/*
