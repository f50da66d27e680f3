#!/bin/sh
# addressed_worker.sh - seer-worker whose end of the control connection has an address of its own, so that a rule can
# cut it off from the server and nobody else: worker-3 speaks from 127.0.1.3, guest-3 from 127.0.2.3.
#
# Stands in for seer-worker in the folder of programs that a chaos run uses; SEER_CHAOS_WORKER is the real one.
# SPDX-License-Identifier: Apache-2.0
set -eu
server='' name='' before=''
for word; do
    case $before in
    --server) server=$word ;;
    --name) name=$word ;;
    esac
    before=$word
done
case $name in
worker-*) source=127.0.1.${name#worker-} ;;
guest-*) source=127.0.2.${name#guest-} ;;
*) exec "$SEER_CHAOS_WORKER" "$@" ;;
esac
exec "$SEER_CHAOS_WORKER" "$@" --server "tcp://$source:0;${server#tcp://}"
