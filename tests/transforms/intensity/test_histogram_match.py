"""RandHistogramMatch: distributions taken over from references, against scikit-image."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.stats import ks_2samp
from skimage.exposure import match_histograms

from medseg.transforms import RandHistogramMatch, RandHistogramMatchd
from medseg.transforms.intensity import histogram_match
from tests.transforms._menu import MenuCase, RandomMenu

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.normal(40, 20, (1, 5, 6, 7)).astype(np.float32)
REFERENCES = [RANDOM.gamma(3, 50, (1, 8, 9, 4)).astype(np.float32), RANDOM.uniform(-9, 9, (1, 40)).astype(np.float32)]


class TestRandHistogramMatch(RandomMenu):
    case = MenuCase(
        array=lambda: RandHistogramMatch(REFERENCES, prob=0.8),
        dictionary=lambda: RandHistogramMatchd("image", REFERENCES, prob=0.8),
        data={"image": IMAGE},
        expected=None,
        errors=(
            (lambda: RandHistogramMatch([]), r"references is \[\], expected a list of at least one scan"),
            (lambda: RandHistogramMatch("a.nii"), "references is 'a.nii', expected a list"),
            (lambda: RandHistogramMatch(["gone.nii"]), "gone.nii: no such file; expected a reference scan"),
            (lambda: RandHistogramMatch([np.full((1, 3), np.nan)]), "reference 0 holds values that are not finite"),
            (lambda: RandHistogramMatchd("image", [np.ones(3)]), r"reference 0 has shape \(3,\), expected a channel-"),
            (
                lambda: RandHistogramMatch([np.ones((2, 3))], prob=1.0)(IMAGE),
                r"image has shape \(1, 5, 6, 7\), but reference 0 has 2 channel\(s\), expected a channel-first image",
            ),
            (
                lambda: RandHistogramMatch(REFERENCES, prob=1.0)(np.full((1, 4), np.inf)),
                "image holds values that are not finite",
            ),
        ),
    )


def test_small_references_give_exactly_what_scikit_image_gives() -> None:
    result = RandHistogramMatch(REFERENCES[:1], prob=1.0, dtype=np.float64)(IMAGE)
    expected = match_histograms(IMAGE.astype(np.float64), REFERENCES[0].astype(np.float64), channel_axis=0)
    np.testing.assert_array_equal(np.asarray(result), expected)


def test_a_constant_reference_makes_a_constant_image() -> None:
    result = RandHistogramMatch([np.full((1, 7), 3.5)], prob=1.0)(IMAGE)
    np.testing.assert_array_equal(np.asarray(result), np.full(IMAGE.shape, 3.5))


def test_order_is_kept_and_the_distribution_is_the_references() -> None:
    result = np.asarray(RandHistogramMatch(REFERENCES[:1], prob=1.0)(IMAGE)).ravel()
    assert np.all(np.diff(result[np.argsort(IMAGE.ravel())]) >= 0)
    assert ks_2samp(result, REFERENCES[0].ravel()).statistic < 0.01
    assert ks_2samp(IMAGE.ravel(), REFERENCES[0].ravel()).statistic > 0.3


def test_channels_are_matched_apart() -> None:
    image, reference = np.concatenate([IMAGE, IMAGE]), np.stack([np.zeros(9), np.arange(9.0)])
    result = np.asarray(RandHistogramMatch([reference], prob=1.0)(image))
    assert np.all(result[0] == 0)
    assert result[1].max() == 8


def test_whole_numbers_are_not_matched_to_whole_numbers() -> None:
    result = RandHistogramMatch([np.array([[0.25, 0.5, 0.75]])], prob=1.0)(np.array([[1, 2, 3]], dtype=np.int16))
    np.testing.assert_allclose(np.asarray(result), [[0.25, 0.5, 0.75]])


def test_the_quantiles_kept_of_a_large_reference_stand_for_it() -> None:
    large = np.random.default_rng(1).gamma(2, 100, (1, 300_000))
    kept = histogram_match._quantiles(large, "large")
    assert kept.shape == (1, histogram_match.REFERENCE_VALUES)
    assert ks_2samp(kept[0], large[0]).statistic <= 0.75 / histogram_match.REFERENCE_VALUES
    exact = match_histograms(IMAGE.astype(np.float64), large[..., None, None], channel_axis=0)
    result = np.asarray(RandHistogramMatch([large], prob=1.0)(IMAGE))
    ranks = [np.searchsorted(np.sort(large[0]), found) / large.size for found in (result, exact)]
    np.testing.assert_allclose(ranks[0], ranks[1], atol=2 / histogram_match.REFERENCE_VALUES)


def test_files_are_read_when_they_are_drawn_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reference.nii.gz"
    nib.save(nib.Nifti1Image(REFERENCES[0][0], np.eye(4)), path)
    reads = []
    real = histogram_match.LoadImage
    monkeypatch.setattr(histogram_match, "LoadImage", lambda **given: reads.append(1) or real(**given))
    transform = RandHistogramMatch([path], prob=1.0)
    assert not reads
    result = transform(IMAGE)
    np.testing.assert_array_equal(transform(IMAGE), result)
    assert len(reads) == 1
    np.testing.assert_allclose(result, RandHistogramMatch(REFERENCES[:1], prob=1.0)(IMAGE), atol=1e-4)


def test_every_reference_is_drawn_and_the_probability_is_kept() -> None:
    transform = RandHistogramMatch(REFERENCES, prob=0.5).set_random_state(0)
    seen = [float(np.asarray(transform(IMAGE)).max()) for _ in range(200)]
    ends = [float(IMAGE.max()), float(REFERENCES[0].max()), float(REFERENCES[1].max())]
    counts = [sum(np.isclose(value, end, rtol=1e-5) for value in seen) for end in ends]
    assert sum(counts) == 200
    assert 75 < counts[0] < 125
    assert min(counts[1:]) > 25
