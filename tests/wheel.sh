#!/usr/bin/env bash
# Build the wheel, install it into a clean environment, import the packages, ask the command for help.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${PYTHON:-python3}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --wheel --outdir "$work" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
"$python" -m venv "$work/clean"
# Dependencies come from the environment at hand, the project from the wheel alone.
"$work/clean/bin/pip" install --quiet --no-deps --no-index "$work"/loquela-*.whl
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
own=$("$work/clean/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n' "$site" >"$own/dependencies.pth"
rm -rf "$work/elsewhere" && mkdir "$work/elsewhere" && cd "$work/elsewhere"
"$work/clean/bin/python" - "$own" <<'PYTHON'
import importlib, pathlib, sys

own = pathlib.Path(sys.argv[1])
for name in ("asr", "st", "lm"):
    package = importlib.import_module(name)
    assert own in pathlib.Path(package.__file__).parents, f"{name} is not the wheel's: {package.__file__}"
    for path in sorted((own / name).rglob("*.py")):
        if path.name != "__main__.py":
            module = ".".join(path.relative_to(own).with_suffix("").parts).removesuffix(".__init__")
            importlib.import_module(module)
PYTHON
"$work/clean/bin/loquela" --help >/dev/null
echo "wheel: installed and imported"
