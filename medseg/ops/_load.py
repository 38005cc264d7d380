"""Loads the compiled library, registers the ops, and reports which implementation runs.

``MEDSEG_OPS=reference`` runs plain PyTorch instead of compiled code. An installation without the compiled library does
so too, and warns once. ``MEDSEG_ISA=avx512|avx2|generic`` forces the instruction set of the CPU kernels.
"""

from __future__ import annotations

import ctypes
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch

_FOLDER = Path(__file__).resolve().parent.parent
_CPU_LIBRARY = "_C.abi3.so"
_CUDA_LIBRARY = "_C_cuda.abi3.so"


class Library(NamedTuple):
    """A shared object: its ctypes handle, or None and the reason why it is not loaded."""

    handle: ctypes.CDLL | None
    reason: str


_ops: list[str] = []
_without_cuda_kernel: set[str] = set()
_reference_runs: dict[str, tuple[str, int]] = {}
_definitions = torch.library.Library("medseg", "FRAGMENT")


def _mode() -> str:
    mode = os.environ.get("MEDSEG_OPS", "") or "auto"
    if mode not in ("auto", "reference"):
        raise ValueError(f"MEDSEG_OPS={mode}: unknown; use auto or reference")
    return mode


def _open(name: str) -> Library:
    path = _FOLDER / name
    if not path.exists():
        return Library(None, f"not built: no {name} in the package")
    try:
        torch.ops.load_library(str(path))
        return Library(ctypes.CDLL(str(path)), "")
    except OSError as error:
        return Library(None, f"load failed: {str(error).splitlines()[0]}")


def _load_cpu() -> Library:
    if _mode() == "reference":
        return Library(None, "MEDSEG_OPS=reference")
    library = _open(_CPU_LIBRARY)
    if library.handle is None:
        warnings.warn(f"medseg.ops: plain PyTorch runs instead of compiled ops ({library.reason})", stacklevel=2)
        return library
    library.handle.medseg_isa.restype = ctypes.c_char_p
    _isa(library.handle)
    return library


def _load_cuda() -> Library:
    if cpu_library.handle is None:
        return Library(None, cpu_library.reason)
    if torch.version.cuda is None:
        built = (_FOLDER / _CUDA_LIBRARY).exists()
        return Library(
            None, "not loaded: torch has no CUDA" if built else f"not built: no {_CUDA_LIBRARY} in the package"
        )
    return _open(_CUDA_LIBRARY)


def _isa(handle: ctypes.CDLL) -> str:
    """Name of the float32 CPU kernels in use; raises if ``MEDSEG_ISA`` cannot be met."""
    failed = ctypes.c_int(0)
    text = handle.medseg_isa(ctypes.byref(failed)).decode()
    if failed.value:
        raise ValueError(text)
    return text


cpu_library = _load_cpu()
cuda_library = _load_cuda()


def compiled() -> bool:
    """Whether the compiled CPU library is in use.

    Example:
        >>> from medseg.ops import compiled
        >>> isinstance(compiled(), bool)
        True
    """
    return cpu_library.handle is not None


def register_op(schema: str, reference: Callable[..., Any], cuda_kernel: bool = True) -> None:
    """Makes ``torch.ops.medseg.NAME`` callable on every device.

    The compiled library has its schema and kernels already; a call on CUDA without a CUDA kernel then raises an error
    with the reason. Without the library, the schema is defined here and the reference becomes the kernel of every
    device.

    Args:
        schema: the schema after ``medseg::``, as ``name(Tensor x, ...) -> ...``.
        reference: plain PyTorch function of the same signature.
        cuda_kernel: whether the CUDA library has a kernel; without one the reference runs on CUDA.

    Raises:
        RuntimeError: if the library defines another schema than the one given.
    """
    name = schema.split("(", 1)[0]
    _ops.append(name)

    def run_reference(*args: Any, **kwargs: Any) -> Any:
        _reference_runs[name] = ("reference", time.monotonic_ns())
        return reference(*args, **kwargs)

    if compiled():
        _check_schema(name, schema)
        if not cuda_kernel:
            _without_cuda_kernel.add(name)
            _definitions.impl(name, run_reference, "CUDA")
        elif cuda_library.handle is None:
            _definitions.impl(name, _missing_cuda_kernel(name), "CUDA")
        return

    _definitions.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _definitions.impl(name, run_reference, "CompositeExplicitAutograd")


def _check_schema(name: str, schema: str) -> None:
    found = str(getattr(torch.ops.medseg, name).default._schema)
    expected = str(torch._C.parse_schema(f"medseg::{schema}"))
    if found != expected:
        raise RuntimeError(
            f"medseg {_CPU_LIBRARY} is of another version: it has {found}, expected {expected}; rebuild it"
        )


def _missing_cuda_kernel(name: str) -> Callable[..., NoReturn]:
    def fail(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            f"medseg::{name} has no CUDA kernel ({cuda_library.reason}); set MEDSEG_OPS=reference to run it"
        )

    return fail


def status() -> dict[str, dict[str, str]]:
    """Reports what would run for every op.

    Returns:
        ``{op: {"cpu": text, "cuda": text}}``; cpu is ``avx512``, ``avx2``, ``generic`` or ``reference: WHY``
        (float64 input always takes the portable kernel), cuda is ``built sm_80,sm_90,+PTX``, ``not built: WHY``,
        ``not loaded: WHY``, ``load failed: WHY`` or ``reference: WHY``. Plain strings throughout, so it can be
        written as JSON.

    Example:
        >>> from medseg.ops import status
        >>> sorted(status()["score_argmax"])
        ['cpu', 'cuda']
    """
    if cpu_library.handle is None:
        why = f"reference: {cpu_library.reason}"
        return {name: {"cpu": why, "cuda": why} for name in _ops}
    cuda = cuda_library.reason
    if cuda_library.handle is not None:
        cuda_library.handle.medseg_cuda_archs.restype = ctypes.c_char_p
        cuda = f"built {cuda_library.handle.medseg_cuda_archs().decode()}"
    cpu = _isa(cpu_library.handle)
    plain = "reference: no CUDA kernel"
    return {name: {"cpu": cpu, "cuda": plain if name in _without_cuda_kernel else cuda} for name in _ops}


def last_backend(op: str) -> str | None:
    """Reports what ran the op last in this process.

    Args:
        op: name without namespace, such as ``patch_select``.

    Returns:
        ``cpu:avx512``, ``cpu:avx2``, ``cpu:generic``, ``cpu:generic64`` (float64), ``cuda``, ``reference``; None if
        it never ran.

    Raises:
        ValueError: if there is no such op.

    Example:
        >>> import torch
        >>> from medseg.ops import last_backend, score_argmax
        >>> index, score = score_argmax(torch.ones(1, 2, 1), torch.ones(1, 1))
        >>> last_backend("score_argmax").split(":")[0] in ("cpu", "reference")
        True
    """
    if op not in _ops:
        raise ValueError(f"no op {op!r}; there are {', '.join(sorted(_ops))}")
    latest = _reference_runs.get(op, (None, 0))
    for library, reader in ((cpu_library, "medseg_cpu_last_backend"), (cuda_library, "medseg_cuda_last_backend")):
        if library.handle is None:
            continue
        function = getattr(library.handle, reader)
        function.restype = ctypes.c_char_p
        stamp = ctypes.c_int64(0)
        backend = function(op.encode(), ctypes.byref(stamp))
        if backend is not None and stamp.value > latest[1]:
            latest = (backend.decode(), stamp.value)
    return latest[0]
