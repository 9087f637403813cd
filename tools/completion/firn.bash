# Completion of firn for bash. The lists of options are those of `firn COMMAND --help`; a test
# compares them.

_firn() {
    local cur prev words cword
    if declare -F _init_completion >/dev/null; then
        _init_completion || return
    else
        cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} cword=$COMP_CWORD
        words=("${COMP_WORDS[@]}")
    fi
    COMPREPLY=()

    if [ "$cword" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "compact dump explain get help replay stat top trace verify --help --version" -- "$cur")
        return
    fi

    local values=""
    case $prev in
    help) values="compact dump explain get replay stat top trace verify" ;;
    --policy) values="lru slru clock sieve s3fifo arc tinylfu gdsf auto" ;;
    --tier) values="both hot" ;;
    --admission) values="always frequency size" ;;
    --demotion) values="always reject-first frequency size budget" ;;
    --promotion) values="always kth-hit gain" ;;
    --write-mode) values="on-eviction behind through" ;;
    --durability) values="periodic none commit" ;;
    --threads) values="0 1" ;;
    --prefix | --separator | --min-size | --max-size | --newer | --older | --limit | --hot | --cold | --capacity | --jobs | --ratio | \
        --level | --ttl | --shards | --value-size | --restart-at) return ;;
    esac
    if [ -n "$values" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
        return
    fi

    local options=""
    case ${words[1]} in
    compact) options="--json --quiet --help" ;;
    dump)
        options="--values --json --raw --separator --null --prefix --min-size --max-size --newer \
            --older --expired --limit --help"
        ;;
    explain) options="--json --escaped-key --help" ;;
    top) options="--once --interval --json --prometheus --help" ;;
    get) options="--raw --escape --json --escaped-key --help" ;;
    replay)
        options="--hot --cold --policy --capacity --jobs --plot --ratio --tier --admission --demotion --demotion-rate --promotion --promotion-hits --miss-cost --cold-cost --pace --write-mode --durability --level --ttl \
            --threads --shards --value-size --restart-at --no-restart --keep --json --quiet --help"
        ;;
    stat) options="--json --help" ;;
    trace) options="--csv --json --help" ;;
    verify) options="--repair --force --json --quiet --help" ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [ "${words[1]}" = replay ] || [ "${words[1]}" = trace ]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        compopt -o filenames
    elif [ -n "$options" ]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        compopt -o filenames
    fi
}

complete -F _firn firn
