"""The benchmark of data preparation is fair: every peer gives our image before it is timed."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks import data_prep
from benchmarks._harness import Timing


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (folder,) = data_prep.write_cohort(tmp_path_factory.mktemp("cohort"), 1, 6, side=48)
    return folder


@pytest.fixture(scope="module")
def image(series: Path) -> Path:
    target = series.parent / "ours.nii.gz"
    data_prep.ours(series, target)
    return target


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(data_prep.PEERS))
def test_peers_agree_with_ours(series: Path, image: Path, tmp_path: Path, name: str) -> None:
    convert, package = data_prep.PEERS[name]
    pytest.importorskip(package)
    convert(series, tmp_path / "peer.nii.gz")
    data_prep.compare(name, tmp_path / "peer.nii.gz", image)


def test_another_order_of_the_axes_is_the_same_image_and_nothing_else_is(image: Path, tmp_path: Path) -> None:
    loaded = nib.load(image)
    array, affine = np.asanyarray(loaded.dataobj), loaded.affine
    nib.save(nib.as_closest_canonical(loaded), tmp_path / "ras.nii.gz")
    data_prep.compare("turned", tmp_path / "ras.nii.gz", image)
    nib.save(nib.Nifti1Image(array[::-1], affine), tmp_path / "flipped.nii.gz")
    with pytest.raises(RuntimeError, match="voxels differ"):
        data_prep.compare("flipped", tmp_path / "flipped.nii.gz", image)
    moved = affine.copy()
    moved[0, 3] += 0.5
    nib.save(nib.Nifti1Image(array, moved), tmp_path / "moved.nii.gz")
    with pytest.raises(RuntimeError, match=r"affine differs from ours by 0\.5 mm"):
        data_prep.compare("moved", tmp_path / "moved.nii.gz", image)


def test_a_row_meets_its_bar_only_if_ours_is_not_slower() -> None:
    weights = {"ours": (1.0, 2.0), "peer": (3.0, 4.0)}
    row = data_prep._row("a", "peer", 50, {"ours": Timing(100, 1), "peer": Timing(150, 1)}, weights)
    assert (row["ours_slices_per_s"], row["ratio"], row["pass"]) == (500, 1.5, True)
    slower = data_prep._row("a", "peer", 50, {"ours": Timing(100, 1), "peer": Timing(99, 1)}, weights)
    assert slower["pass"] is False
