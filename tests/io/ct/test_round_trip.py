"""What the CT writer writes, the series reader reads back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.datasets.phantom.ct_writer import write_ct_series
from medseg.geometry import apply_affine, make_affine
from medseg.io.ct.series import read_series


@pytest.mark.parametrize("codes", ["LPS", "RAS", "RSA", "PIR", "ASL"])
def test_values_stay_at_their_place_in_the_patient(tmp_path: Path, codes: str) -> None:
    image = np.random.default_rng(0).integers(-1000, 1000, (7, 6, 5)).astype(np.int16)
    affine = make_affine((0.7, 0.8, 2.5), (-10.0, 20.0, 30.0), codes)
    write_ct_series(tmp_path / "ct", image, affine, patient_id="synthetic", series_description="noise")
    series = read_series(tmp_path / "ct")
    index = np.argwhere(np.ones(image.shape, bool))
    found = np.rint(apply_affine(np.linalg.inv(series.affine_ras), apply_affine(affine, index))).astype(int)
    assert apply_affine(series.affine_ras, found) == pytest.approx(apply_affine(affine, index), abs=1e-4)
    assert np.array_equal(series.array[tuple(found.T)], image[tuple(index.T)])
