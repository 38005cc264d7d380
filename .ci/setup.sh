#!/usr/bin/env bash
# Make the virtual environment: torch first (a CPU build where there is no NVIDIA GPU), then medseg with its compiled ops.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3} TORCH=${TORCH:-2.13.0} VENV=${VENV:-.venv}
EXTRAS=${EXTRAS:-bundle,fast,dicom,lidc,itk,seg,dask,lightning,safetensors,onnx,dev}

say() { echo "setup: $*"; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { say "Python 3.10 or newer is needed, found $("$PYTHON" --version)"; exit 1; }
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV" || { say "cannot make $VENV; install the venv module of $PYTHON"; exit 1; }
export PATH="$PWD/$VENV/bin:$PATH" PIP_DISABLE_PIP_VERSION_CHECK=1
PIP=("$VENV/bin/python" -m pip install --quiet)

installed() { "$VENV/bin/python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true; }

if [ -z "$(installed)" ]; then
    done=""
    if ! command -v nvidia-smi >/dev/null 2>&1 || ! nvidia-smi >/dev/null 2>&1; then
        say "no NVIDIA GPU found: looking for the CPU build of torch $TORCH"
        if "${PIP[@]}" "torch==$TORCH+cpu" 2>/dev/null; then
            done=yes
        elif "${PIP[@]}" --timeout 5 --retries 0 "torch==$TORCH" --index-url https://download.pytorch.org/whl/cpu 2>/dev/null; then
            done=yes
        else
            say "no CPU build of torch $TORCH can be reached: the CUDA build follows (several GB)"
        fi
    fi
    [ -n "$done" ] || "${PIP[@]}" "torch==$TORCH"
fi
WANTED=$(installed)
say "torch $WANTED"

CONSTRAINT="$VENV/constraint.txt"
echo "torch==$WANTED" >"$CONSTRAINT"
"${PIP[@]}" --constraint "$CONSTRAINT" "setuptools>=77" wheel ninja
say "installing medseg and compiling its ops"
"${PIP[@]}" --constraint "$CONSTRAINT" --no-build-isolation --editable ".[$EXTRAS]"

FOUND=$(installed)
[ "$FOUND" = "$WANTED" ] || { say "torch $WANTED was replaced by $FOUND; remove $VENV and try again"; exit 1; }
"$VENV/bin/python" -c 'from medseg.ops import status; print("setup: compiled ops:", {op: s["cpu"] for op, s in status().items()})'
