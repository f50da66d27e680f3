# wait.bash - how tests wait: for a condition, with a deadline.
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

exec {never}<> <(:) # nobody ever writes there

# wait_until SECONDS COMMAND...: asks ten times a second; fails by name when the time is up. It starts no process of its own,
# and bats does not follow what it calls: with many tests beside each other both cost more than what they wait for.
wait_until() {
    local - deadline=$((SECONDS + $1))
    set +T
    shift
    until "$@"; do
        if [ $SECONDS -ge $deadline ]; then
            echo "waited in vain for: $*" >&2
            return 1
        fi
        read -rt 0.1 -u "$never" || :
    done
}
