from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.datasets.medmnist import read_medmnist
from medseg.io.bounded.errors import DataError


def _write(path: Path, **changed: object) -> Path:
    arrays: dict[str, object] = {}
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        arrays[f"{part}_images"] = np.full((count, 4, 4), count, np.uint8)
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    arrays.update(changed)
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_official_parts_with_flat_labels(tmp_path: Path) -> None:
    parts = read_medmnist(_write(tmp_path / "a.npz"))
    assert {name: len(part.images) for name, part in parts.items()} == {"train": 5, "val": 2, "test": 3}
    assert parts["train"].labels.tolist() == [0, 1, 0, 1, 0]
    assert parts["test"].images[0, 0, 0] == 3


def test_counts_of_the_public_files(real_data) -> None:
    adrenal = read_medmnist(real_data("classification/adrenalmnist3d.npz"))
    assert [part.images.shape for part in adrenal.values()] == [(n, 28, 28, 28) for n in (1188, 98, 298)]
    assert np.bincount(adrenal["test"].labels).tolist() == [229, 69]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"val_labels": None}, "has no array val_labels"),
        ({"train_labels": np.zeros((5, 3), np.uint8)}, "5 images but 15 labels"),
        ({"test_images": np.zeros((3, 4, 4), np.float32)}, "float32, expected uint8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_medmnist(_write(tmp_path / "a.npz", **changed))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK\x03\x04 but not a zip file")
    with pytest.raises(DataError, match="cannot be read as a MedMNIST"):
        read_medmnist(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_medmnist(tmp_path / "absent.npz")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_medmnist(_write(tmp_path / "a.npz", train_images=np.array([{}, []], dtype=object)))
