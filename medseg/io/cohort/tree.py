"""Fingerprints of files and folders by their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medseg.io.bounded.atomic import json_text
from medseg.io.bounded.checksum import sha256_of

__all__ = ["contents_sha256", "digest_of", "files_of", "tree_sha256"]


def digest_of(value: Any) -> str:
    """SHA-256 of a plain JSON value in canonical form (sorted keys, no spaces)."""
    text = json_text(value, indent=None, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def contents_sha256(paths: Iterable[str | Path]) -> tuple[str, int]:
    """Digest of a set of files by their contents alone, and their bytes in total.

    The digest covers the size and the SHA-256 of every file, sorted: neither names nor dates count, so a moved or
    copied data set has the digest it had before.

    Raises:
        OSError: if a file cannot be read.
    """
    facts = sorted((Path(path).stat().st_size, sha256_of(path)) for path in paths)
    return digest_of(facts), sum(size for size, _ in facts)


def files_of(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file under a folder, by its path relative to the folder, sorted."""
    folder = Path(folder)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in found
    }


def tree_sha256(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Digest of what `files_of` returned: equal if and only if names, sizes and contents are equal."""
    return digest_of({name: [facts["bytes"], facts["sha256"]] for name, facts in files.items()})
