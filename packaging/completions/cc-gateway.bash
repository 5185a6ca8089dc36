# Made from the table of commands and options in src/cli/table.rs; see tests/gateway/completions.rs.
# shellcheck shell=bash
_cc_gateway() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' index
    COMPREPLY=()
    # bash takes --option=value as three words.
    [ "$word" != = ] || word=
    [ "$before" != = ] || before=${COMP_WORDS[COMP_CWORD - 2]}
    case $before in
    --config) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --out) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    --name) mapfile -t COMPREPLY < <(compgen -A hostname -- "$word"); return ;;
    --listen) :; return ;;
    esac
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${COMP_WORDS[index]} in
        check | hash-password | certificate | demo) command=${COMP_WORDS[index]} && break ;;
        esac
    done
    case $command in
    '') mapfile -t COMPREPLY < <(compgen -W 'check hash-password certificate demo --config -h --help -V --version' -- "$word") ;;
    check) mapfile -t COMPREPLY < <(compgen -W '--quiet --config -h --help -V --version' -- "$word") ;;
    hash-password) mapfile -t COMPREPLY < <(compgen -W '-h --help -V --version' -- "$word") ;;
    certificate) mapfile -t COMPREPLY < <(compgen -W '--out --name -h --help -V --version' -- "$word") ;;
    demo) mapfile -t COMPREPLY < <(compgen -W '--listen -h --help -V --version' -- "$word") ;;
    esac
} &&
    complete -F _cc_gateway cc-gateway
