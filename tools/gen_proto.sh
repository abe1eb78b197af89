#!/usr/bin/env bash
# Writes the stubs of proto/ below DIR (default gen/python), with the pinned generator of gen/requirements.txt.
# usage: tools/gen_proto.sh [DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-gen/python}
python=${GEN_PYTHON:-.venv-gen/bin/python}
PATH="$(cd "$(dirname "$python")" && pwd):$PATH"
mkdir -p "$out"
mapfile -t all < <(find proto -name '*.proto' | sort)
mapfile -t services < <(grep -l '^service ' "${all[@]}")
"$python" -m grpc_tools.protoc -I proto --python_out="$out" --mypy_out=quiet:"$out" "${all[@]}"
"$python" -m grpc_tools.protoc -I proto --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" "${services[@]}"
find "$out/usageflow" -type d | while read -r folder; do
  case "$folder" in */v1) touch "$folder/__init__.py" "$folder/py.typed" ;; esac
done
