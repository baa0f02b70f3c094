# shellcheck shell=bash
# Options of a recipe script: every plain variable that the script sets above the line that
# sources this file, as `stage=1 exp=exp/b`, becomes an option.
#
#   ./run.sh --stage 3 --exp exp/b      or  --exp=exp/b; a dash in a name is an underscore
#   ./run.sh --help                     the comment at the top of the script, the options, the defaults
#
# Relative paths start from the folder that the script has changed to, as recipes do to their own.
#
# It also gives `at N "name"`: true when stage N is among those to run, and says so; `runs N` says nothing.
#
# Only small letters, digits and underscores make an option; arrays and capitals do not. The
# names are read from the script's own text, so that what the environment happens to hold
# (http_proxy) never becomes an option.

_options_of() { # FILE LINE: the options set before LINE of FILE, one a line
    local line name names declared seen=" "
    # Assignments at the beginning of a line, one or several: stage=1 stop_stage=9  # why
    while IFS= read -r line; do
        names=${line%%[[:space:]]#*}
        while [[ $names =~ ^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)= ]]; do
            name=${BASH_REMATCH[2]}
            names=${names#"${BASH_REMATCH[0]}"}
            # Past the value: a quoted one may hold spaces.
            if [[ $names =~ ^(\"([^\"\\]|\\.)*\"|\'[^\']*\'|\$\([^\)]*\)|[^[:space:]\;\"\'])* ]]; then
                names=${names#"${BASH_REMATCH[0]}"}
            fi
            names=${names#;} # another assignment may follow
            declared=$(declare -p "$name" 2>/dev/null) || continue
            [[ $name =~ ^[a-z][a-z0-9_]*$ && $declared != "declare -"[aA]* && $seen != *" $name "* ]] || continue
            seen+="$name "
            printf '%s\n' "$name"
        done
    done < <(head -n "$(($2 - 1))" "$1")
}

_edit_distance() { # A B
    local a=$1 b=$2 i j cost best diagonal
    local -a row
    for ((j = 0; j <= ${#b}; j++)); do row[j]=$j; done
    for ((i = 1; i <= ${#a}; i++)); do
        diagonal=${row[0]}
        row[0]=$i
        for ((j = 1; j <= ${#b}; j++)); do
            [[ ${a:i-1:1} == "${b:j-1:1}" ]] && cost=0 || cost=1
            best=$((diagonal + cost))
            ((row[j] + 1 < best)) && best=$((row[j] + 1))
            ((row[j - 1] + 1 < best)) && best=$((row[j - 1] + 1))
            diagonal=${row[j]}
            row[j]=$best
        done
    done
    printf '%s\n' "${row[${#b}]}"
}

_wrong_usage() { # MESSAGE
    printf '%s: %s\n' "$_script" "$1" >&2
    exit 2
}

_unknown_option() { # NAME
    local name near=()
    for name in "${_options[@]}"; do
        if [[ $name == "$1"* || $(_edit_distance "$1" "$name") -le 2 ]]; then near+=("--$name"); fi
    done
    if ((${#near[@]})); then
        _wrong_usage "unknown option --$1. Did you mean ${near[*]}?"
    fi
    _wrong_usage "unknown option --$1. The options are ${_options[*]/#/--}."
}

_print_help() {
    local name
    # The comment at the top of the script, without the line that names the shell.
    sed -n -e '1{/^#!/d}' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$_script_file"
    printf '\noptions of %s, and what they are by default:\n' "$_script"
    for name in "${_options[@]}"; do printf '  --%-20s %s\n' "$name" "${!name}"; done
    printf '\nRelative paths start from %s.\n' "$PWD"
}

_hint_of_path() { # NAME VALUE: where a path of the user's folder would be looked for in the recipe's
    local from=${OLDPWD:-$PWD}
    # Names of arms and languages are no paths, and may be folders there.
    [[ -n $2 && $2 != /* && $2${!1} == */* && ! -e $2 && -e $from/$2 ]] || return 0
    printf '%s: --%s %s is looked for in %s; there is one in %s: give %s.\n' \
        "$_script" "$1" "$2" "$PWD" "$from" "$from/$2" >&2
}

_parse_options() {
    local name value last=${stop_stage:-} # a script stops at its last stage unless told otherwise
    while (($#)); do
        case $1 in
        -h | --help)
            _print_help
            exit 0
            ;;
        --?*) ;;
        *) _wrong_usage "unexpected argument '$1'. Options begin with two dashes; --help lists them." ;;
        esac
        name=${1#--}
        name=${name%%=*}
        name=${name//-/_}
        [[ " ${_options[*]} " == *" $name "* ]] || _unknown_option "$name"
        if [[ $1 == *=* ]]; then
            value=${1#*=}
            shift
        elif (($# > 1)) && [[ $2 != --?* ]]; then
            value=$2
            shift 2
        else
            _wrong_usage "--$name needs a value, as in --$name ${!name:-VALUE}."
        fi
        case ${!name} in
        true | false) [[ $value =~ ^(true|false)$ ]] || _wrong_usage "--$name is '$value'. Give true or false." ;;
        esac
        case $name in
        stage | stop_stage)
            [[ $value =~ ^[0-9]+$ ]] || _wrong_usage "--$name is '$value'. Give a number."
            value=$((10#$value)) # 08 is no octal number
            ;;
        esac
        _hint_of_path "$name" "$value"
        printf -v "$name" '%s' "$value"
    done
    [[ " ${_options[*]} " == *" stage "* && " ${_options[*]} " == *" stop_stage "* ]] || return 0
    ((${stage:-1} <= last)) || _wrong_usage "--stage $stage is after the last stage, $last, so nothing would run."
    ((${stage:-1} <= stop_stage)) || _wrong_usage "--stage $stage is after --stop_stage $stop_stage, so nothing would run."
}

runs() { # N: whether stage N is among those to run
    ((${stage:-1} <= $1 && $1 <= ${stop_stage:-$1}))
}

at() { # N NAME: whether stage N runs; a banner on stderr when it does
    runs "$1" || return 1
    printf '== stage %s: %s  (%(%F %T)T, %d s since the start)\n' "$1" "$2" -1 "$SECONDS" >&2
}

_script=${0##*/}
# The script may have changed its folder since it was started under a relative path.
_script_file=${BASH_SOURCE[1]:?source this file from a recipe script}
for _candidate in "$_script_file" "${OLDPWD:-.}/$_script_file" "./${_script_file##*/}"; do
    if [[ -r $_candidate ]]; then
        _script_file=$_candidate
        break
    fi
done
mapfile -t _options < <(_options_of "$_script_file" "${BASH_LINENO[0]}")
((${#_options[@]})) || _wrong_usage "no variable is set above parse_options.sh, so there is no option to parse."
_parse_options "$@"
