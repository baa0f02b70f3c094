# shellcheck shell=bash
# A corpus into a manifest, for every recipe. What is wrong with some recordings is reported and stops nothing;
# a refusal, a crash or Ctrl-C does.

check_corpus() { # MANIFEST
    local status=0
    loquela corpus check "$1" || status=$?
    ((status <= 1)) || return "$status" # 1: something was found
}

import_corpus() { # TABLE MANIFEST
    local began=$2.began status=0
    mkdir -p "$(dirname "$2")"
    : >"$began"
    loquela corpus import --overwrite --form manifest "$1" --out "$2" || status=$?
    # 1: recordings were left out, or all was refused; then the manifest is an earlier one, or none.
    if ((status == 1)) && [[ $2 -nt $began ]]; then
        printf '%s: going on with %s, without what was left out above.\n' "${0##*/}" "$2" >&2
        status=0
    fi
    rm -f "$began"
    return "$status"
}
