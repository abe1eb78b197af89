#!/usr/bin/env bash
# Proves that gen/python is what proto/ generates. The pinned generator has wheels for Python 3.11 and 3.12 only:
# elsewhere this says so and passes, except with CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! "${PYTHON:-python3}" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'; then
  echo "proto-check: SKIPPED: the pinned generator needs Python 3.11 or 3.12 (make PYTHON=python3.12 proto-check)" >&2
  [ "${CI:-}" != true ]
  exit
fi
"${MAKE:-make}" --no-print-directory .venv-gen/.ready
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
tools/gen_proto.sh "$fresh"
if ! diff -r -q -x __pycache__ "$fresh/usageflow" gen/python/usageflow; then
  echo "proto-check: gen/python is not what proto/ generates: run \`make proto\` and commit it" >&2
  exit 1
fi
