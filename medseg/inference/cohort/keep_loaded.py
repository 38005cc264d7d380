"""Networks that stay in memory from one case to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

    from medseg.inference.bundle import Bundle

__all__ = ["keep_loaded", "keep_parser", "kept_key", "kept_parser"]

Key = tuple[object, ...]

_KEPT: ContextVar[dict[Key, ConfigParser] | None] = ContextVar("kept", default=None)


@contextmanager
def keep_loaded() -> Iterator[None]:
    """Let `medseg.inference.segment` build a bundle and load its weights once for all calls in the block.

    A call gives the same mask in the block and outside of it. A bundle is loaded anew if its configuration or its
    weights change on the disk. A bundle whose own engine does the work (handlers, metrics) is built for every case. All
    that was kept is given back at the end of the block.

    >>> from medseg.inference import keep_loaded, segment
    >>> with keep_loaded():
    ...     masks = [segment("scan.nii.gz", "bundles/lits_liver_segmentation", "model.pt").mask for _ in range(2)]
    >>> bool((masks[0] == masks[1]).all())
    True
    """
    before = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(before)


def kept_key(bundle: Bundle, weights: Path, device: str, progress: bool) -> Key:
    """What decides whether a bundle in memory is the one asked for."""
    state = weights.stat()
    place = str(bundle.root.absolute())
    return (place, bundle.config_sha256, str(weights.absolute()), state.st_size, state.st_mtime_ns, device, progress)


def kept_parser(key: Key) -> ConfigParser | None:
    """The configuration with its parts, if it was kept."""
    kept = _KEPT.get()
    return None if kept is None else kept.get(key)


def keep_parser(key: Key, parser: ConfigParser) -> None:
    """Keep a configuration whose parts have run, if a block of `keep_loaded` surrounds the call."""
    kept = _KEPT.get()
    if kept is not None:
        kept[key] = parser
