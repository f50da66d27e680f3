# seer.bash - completes seer, seer-server, seer-worker and seer-loader in bash. The words come from the program itself
# (--help=words), from the table that it parses with.
# SPDX-License-Identifier: Apache-2.0

# Words that may stand for a value: an alternative a|b as it is written, files and folders, or none.
_seer_value() { # OPTION VALUE
    local word=${COMP_WORDS[COMP_CWORD]}
    case $1=$2 in
    *=FILE | *=PATH) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    *=DIR | *=STORE) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
    -o=FORMAT | --output=FORMAT) mapfile -t COMPREPLY < <(compgen -W 'table json' -- "$word") ;;
    --role=ROLE) mapfile -t COMPREPLY < <(compgen -W 'worker viewer operator' -- "$word") ;;
    esac
}

_seer() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local commands=() table i=1 kind name value words='' has_verb=0
    COMPREPLY=()
    table=$("$program" --help=words 2>/dev/null) || return
    while ((i < COMP_CWORD)) && [[ $'\n'$table == *$'\n'"command"$'\t'"${COMP_WORDS[i]}"$'\t'* ]]; do
        commands+=("${COMP_WORDS[i]}")
        table=$("$program" "${commands[@]}" --help=words 2>/dev/null) || return
        ((++i))
    done
    # An empty field would be lost between tabs, which are white space to read.
    while IFS=$'\x1f' read -r kind name value _; do
        if [[ $kind == option && $name == "$previous" && -n $value ]]; then
            _seer_value "$name" "$value"
            return
        fi
        if [[ $kind != option ]]; then
            for ((j = i; j < COMP_CWORD; j++)); do
                [[ ${COMP_WORDS[j]} != "$name" ]] || has_verb=1
            done
        fi
        [[ $kind == option && $word != -* ]] || words+=" $name"
    done <<<"${table//$'\t'/$'\x1f'}"
    [[ $has_verb == 0 || $word == -* ]] || words=''
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

# Where none of our words fits there are files: stores, snapshots, configs.
complete -o default -F _seer seer seer-server seer-worker seer-loader
