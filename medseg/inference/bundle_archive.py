"""Bundles that come as an archive, as MONAI's model zoo ships them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from medseg.inference.bundle import Bundle, read_bundle
from medseg.inference.errors import ConfigurationError
from medseg.io.bounded.archive import ArchiveLimits, is_archive, unpacked
from medseg.io.bounded.errors import DataError, shorten

__all__ = ["BUNDLE_LIMITS", "open_bundle"]

BUNDLE_LIMITS = ArchiveLimits(max_bytes=16 * 1024**3, max_files=10_000)
"""The largest bundle that is unpacked: some files of JSON and the weights."""


@contextmanager
def open_bundle(path: str | Path) -> Iterator[Bundle]:
    """Read and check a bundle folder, or an archive of one.

    An archive (.zip, .tar, .tar.gz ...) is unpacked, within ``BUNDLE_LIMITS``, into a temporary folder that is removed
    when the block ends: run the bundle inside the block. The bundle may lie at the archive's top or in its only folder.

    A bundle's configuration can call any Python function. Use bundles only from people whom you trust, as you would
    use their programs.

    Args:
        path: the bundle folder, or the archive.

    Yields:
        The bundle; ``archive`` is the path of the archive if it was unpacked.

    Raises:
        ConfigurationError: as `medseg.inference.bundle.read_bundle`, and for an archive that is damaged, exceeds the
            limits or holds no bundle.

    Example:
        >>> import shutil
        >>> import tempfile
        >>> from pathlib import Path
        >>> from medseg.inference.bundle import REQUIRED_KEYS
        >>> from medseg.inference.bundle_archive import open_bundle
        >>> from medseg.io.bounded.atomic import write_json
        >>> classes = {"0": "background", "1": "liver"}
        >>> metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": classes}}}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_json(f"{folder}/liver/configs/inference.json", dict.fromkeys(REQUIRED_KEYS, ""))
        ...     _ = write_json(f"{folder}/liver/configs/metadata.json", metadata)
        ...     archive = shutil.make_archive(f"{folder}/liver", "zip", folder, "liver")
        ...     with open_bundle(archive) as bundle:
        ...         print(bundle.name, bundle.labels)
        liver {0: 'background', 1: 'liver'}
    """
    if not is_archive(path):
        yield read_bundle(path)
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(unpacked(path, BUNDLE_LIMITS))
        except DataError as error:
            raise ConfigurationError(str(error)) from error
        yield replace(read_bundle(_bundle_folder(folder, path)), archive=Path(path))


def _bundle_folder(folder: Path, archive: str | Path) -> Path:
    """The unpacked folder that holds ``configs``: the top one or the only one in it."""
    if (folder / "configs").is_dir():
        return folder
    # Archives made on macOS hold notes beside the files.
    inside = [p for p in sorted(folder.iterdir()) if p.name != "__MACOSX" and not p.name.startswith(".")]
    if len(inside) == 1 and (inside[0] / "configs").is_dir():
        return inside[0]
    found = shorten(p.name for p in inside) or "nothing"
    raise ConfigurationError(
        f"{archive}: the archive holds {found}, expected a bundle: the folder configs at the top or in the only folder"
    )
