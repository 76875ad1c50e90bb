#!/usr/bin/env bash
# Carries wheels and models to a machine without a network, in parts that are small enough to be sent one by one.
#   ./carry.sh pack PARTS [FOLDER ...]    the wheels of the locks, and folders (runs/shared/models: the unpacked real model)
#   ./carry.sh unpack PARTS               there, in a checkout: folders where they were, and an environment in .venv
# LOCKS names other locks, LEFT_OUT the packages that the machine has (its own build of torch), PART_MB the size of a part.
set -euo pipefail
parts=$(realpath -m "${2:?PARTS, a folder, is missing}")
: "${LOCKS=requirements.lock requirements-small.lock}" "${LEFT_OUT=torch}" "${PART_MB=55}" "${PYTHON=python3}"

case "$1" in
pack)
    mkdir -p "$parts"
    [ -z "$(ls -A "$parts")" ] || { echo "$parts is not empty" >&2; exit 2; }
    work=$(mktemp -d "$parts/.packing.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/wheels"
    { cat $LOCKS; echo "setuptools>=77"; } | sed -E "/^(${LEFT_OUT// /|})[=>]/d" > "$work/wheels/packages.txt"
    "$PYTHON" -m pip download --quiet --no-deps --dest "$work/wheels" --requirement "$work/wheels/packages.txt"
    tar --create --gzip --dereference "${@:3}" --directory "$work" wheels | split --bytes "${PART_MB}MB" - "$work/part-"
    (cd "$work" && sha256sum part-* > SHA256SUMS && mv part-* SHA256SUMS ..)
    ;;
unpack)
    (cd "$parts" && sha256sum --check --quiet SHA256SUMS) || { echo "a part of $parts is missing or damaged" >&2; exit 2; }
    listed=$(cut --characters 67- "$parts/SHA256SUMS")
    [ "$listed" = "$(cd "$parts" && ls part-*)" ] || { echo "$parts has parts that SHA256SUMS does not list" >&2; exit 2; }
    cat "$parts"/part-* | tar --extract --gzip
    "$PYTHON" -m venv --system-site-packages .venv
    .venv/bin/pip install --quiet --no-deps --no-index --find-links wheels --requirement wheels/packages.txt
    .venv/bin/pip install --quiet --no-deps --no-index --no-build-isolation --editable .
    ;;
*)
    echo "pack or unpack, not $1" >&2
    exit 2
    ;;
esac
