# wait.bash - how tests wait: for a condition, with a deadline.
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# wait_until SECONDS COMMAND...: asks ten times a second; fails by name when the time is up.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ $SECONDS -ge $deadline ]; then
            echo "waited in vain for: $*" >&2
            return 1
        fi
        read -rt 0.1 <> <(:) || :
    done
}
