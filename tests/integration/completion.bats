#!/usr/bin/env bats
# completion.bats - what bash and zsh offer behind `seer`, from the table that it parses with.
# SPDX-License-Identifier: Apache-2.0

setup() {
    export PATH="$SEER_BIN:$PATH"
}

# Prints what bash offers for the last of these words.
offered() { # WORD...
    bash --norc -c 'source "$0/deploy/completions/seer.bash"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _seer
        printf "%s\n" "${COMPREPLY[@]}"' "$SEER_SOURCE" "$@"
}

@test "bash offers commands, then verbs, then options" {
    [ "$(offered seer sn)" = snapshot ]
    [ "$(offered seer be)" = bench ]
    [ "$(offered seer bench ga)" = gate ]
    [ "$(offered seer worker ev)" = evict ]
    [ "$(offered seer worker drain --wa)" = --wait ]
    [ "$(offered seer-server --con)" = --config ]
    run offered seer ''
    [[ $output == *doctor*ingest*version* ]]
    [[ $output != *--* ]]
}

@test "bash offers what an option takes, and no second verb" {
    run offered seer status --output ''
    [ "$output" = $'table\njson' ]
    mkdir "$BATS_TEST_TMPDIR/folder"
    touch "$BATS_TEST_TMPDIR/file.yaml"
    [ "$(offered seer status --run "$BATS_TEST_TMPDIR/f")" = "$BATS_TEST_TMPDIR/folder" ]
    [ "$(offered seer-server --config "$BATS_TEST_TMPDIR/fi")" = "$BATS_TEST_TMPDIR/file.yaml" ]
    [ -z "$(offered seer worker drain '')" ]
    [ -z "$(offered seer worker drain --wait '')" ]
}

@test "every command of seer has words to complete, and they are its options" {
    while IFS=$'\t' read -r kind command _; do
        [ "$kind" = command ] || continue
        seer "$command" --help=words | grep -qE $'^(verb|option|command)\t[a-z-]+\t' || { echo "$command"; false; }
    done < <(seer --help=words)
    run seer worker --help=words
    [[ $output == *$'verb\tdrain\tNAME\t'* ]]
    [[ $output == *$'option\t-o\tFORMAT\t'* ]]
    run seer worker --help=poem
    [ "$status" -eq 2 ]
    [[ ${lines[0]} == "seer worker: --help is man, words or nothing, not 'poem'" ]]
}

@test "zsh offers the same, with what it means" {
    command -v zsh >/dev/null || skip 'zsh is not installed'
    # A terminal that zsh believes in: it is asked for all that may stand after "seer worker ".
    cat >"$BATS_TEST_TMPDIR/ask.zsh" <<'ZSH'
zmodload zsh/zpty
zpty asked zsh -f -i
zpty -w asked "PS1='>' fpath=($SEER_SOURCE/deploy/completions \$fpath); autoload -Uz compinit; compinit -u -D; zstyle ':completion:*' list-separator '--'; bindkey '^I' list-choices; echo READY\$((1 + 1))"
zpty -r asked line '*READY2*'
zpty -n -w asked "$1"$'\t'
zpty -r -m asked line "*$2*" && print -r -- "$line"
zpty -d asked
ZSH
    run timeout 30 zsh -f "$BATS_TEST_TMPDIR/ask.zsh" 'seer worker ' '*end its membership at once*'
    [[ $output == *drain*'let it finish its step and leave'* ]]
    run timeout 30 zsh -f "$BATS_TEST_TMPDIR/ask.zsh" 'seer worker drain --wa' '*--wait*'
    [ "$status" -eq 0 ]
}
