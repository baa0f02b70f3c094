# shellcheck shell=bash
# A corpus into a manifest, for every recipe. What is wrong with some recordings is reported and stops nothing;
# a refusal, a crash or Ctrl-C does.

check_corpus() { # MANIFEST
    local status=0
    loquela corpus check "$1" || status=$?
    ((status <= 1)) || return "$status" # 1: something was found
}
