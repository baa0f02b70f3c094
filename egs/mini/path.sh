# shellcheck shell=bash
# Puts the checkout first on the paths, and the environment of `make` where there is one.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export ROOT PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
if [[ -x $ROOT/.venv/bin/python ]]; then PATH="$ROOT/.venv/bin:$PATH"; fi
loquela() { python -m st "$@"; }
