"""What a MONAI bundle folder says about itself, read as plain JSON without importing MONAI."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.inference.errors import ConfigurationError
from medseg.io.bounded.archive import ARCHIVE_SUFFIXES
from medseg.io.bounded.checksum import sha256_of

__all__ = ["REQUIRED_KEYS", "Bundle", "read_bundle"]

REQUIRED_KEYS = ("bundle_root", "output_dir", "device", "input_files", "weights", "output_name", "run")


@dataclass(frozen=True)
class Bundle:
    """A bundle that can segment one image.

    Attributes:
        root: the bundle folder.
        name: name in ``metadata.json``, or the folder's name.
        version: version in ``metadata.json``.
        config: path of ``configs/inference.json``.
        metadata: path of ``configs/metadata.json``.
        labels: class name of each mask value, from ``network_data_format.outputs.pred.channel_def``.
        config_sha256: SHA-256 of ``configs/inference.json``.
        has_progress: whether the config has the key ``progress`` (the sliding-window bar).
        has_hu_check: whether it has the key ``on_hu_doubt`` (what the bundle does itself with values that can hardly be
            Hounsfield units).
        has_amp: whether it has the key ``amp`` (automatic mixed precision).
        has_header_check: whether it has the key ``on_header_doubt`` (the same for contradictions in a header).
        archive: the archive that ``root`` was unpacked from for a while, or None; see
            `medseg.inference.bundle_archive.open_bundle`.

    >>> read_bundle("bundles/lits_liver_segmentation").labels
    {0: 'background', 1: 'liver'}
    """

    root: Path
    name: str
    version: str
    config: Path
    metadata: Path
    labels: dict[int, str]
    config_sha256: str
    has_progress: bool
    has_hu_check: bool = False
    has_amp: bool = False
    has_header_check: bool = False
    archive: Path | None = None

    def shown(self, text: str) -> str:
        """A text with ``BUNDLE`` in place of the temporary folder of an unpacked archive; otherwise the same text."""
        return text if self.archive is None else text.replace(str(self.root.absolute()), "BUNDLE")


def read_bundle(root: str | Path) -> Bundle:
    """Read and check a bundle folder.

    Args:
        root: folder with ``configs/inference.json`` and ``configs/metadata.json``.

    Raises:
        ConfigurationError: one line with file and key, if the folder is not a bundle, a file is not JSON, a key that
            `segment` has to set is missing, or the class names cannot be read.

    >>> bundle = read_bundle("bundles/lits_liver_segmentation")
    >>> bundle.version, bundle.labels
    ('0.1.0', {0: 'background', 1: 'liver'})
    """
    root = Path(root)
    if not root.is_dir():
        if root.is_file():
            raise ConfigurationError(
                f"{root}: is a file, expected a bundle folder (with configs/inference.json) or an archive of one "
                f"({', '.join(ARCHIVE_SUFFIXES)})"
            )
        raise ConfigurationError(f"{root}: no such bundle folder; expected one with configs/inference.json")
    config_path, metadata_path = root / "configs" / "inference.json", root / "configs" / "metadata.json"
    config, metadata = _read_object(config_path), _read_object(metadata_path)
    for key in REQUIRED_KEYS:
        if key not in config:
            raise ConfigurationError(f"{config_path}: key {key!r} is missing{_did_you_mean(key, config)}")
    return Bundle(
        root=root,
        name=str(metadata.get("name", root.resolve().name)),
        version=str(metadata.get("version", "unknown")),
        config=config_path,
        metadata=metadata_path,
        labels=_labels(metadata, metadata_path),
        config_sha256=sha256_of(config_path),
        has_progress="progress" in config,
        has_hu_check="on_hu_doubt" in config,
        has_amp="amp" in config,
        has_header_check="on_header_doubt" in config,
    )


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file; a bundle folder holds configs/{path.name}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: holds a {type(value).__name__}, expected a JSON object")
    return value


def _did_you_mean(key: str, config: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key, list(config), n=1)
    return f"; did you write {close[0]!r} in its place?" if close else "; `medseg segment` has to set it"


def _labels(metadata: dict[str, Any], path: Path) -> dict[int, str]:
    place = "network_data_format.outputs.pred.channel_def"
    value: Any = metadata
    for key in place.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    try:
        labels = {int(number): str(name) for number, name in value.items()}
    except (AttributeError, ValueError) as error:
        raise ConfigurationError(
            f'{path}: {place} is {value!r}, expected class names such as {{"0": "background", "1": "liver"}}'
        ) from error
    if 0 not in labels or len(labels) < 2 or min(labels) < 0 or max(labels) > 255:
        raise ConfigurationError(f"{path}: {place} names the values {sorted(labels)}, expected 0 and others up to 255")
    return labels
