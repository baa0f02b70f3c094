# shellcheck shell=bash
# shellcheck source=../mini/path.sh
. "$(dirname "${BASH_SOURCE[0]}")/../mini/path.sh"
