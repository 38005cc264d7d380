"""Grouping of annotations: in millimetres, and as pylidc does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from medseg.datasets.lidc import NodulePolicy, cluster_annotations, cluster_like_pylidc
from medseg.datasets.lidc.clusters import grouped, nearest_distances
from medseg.datasets.lidc.records import Annotation, Contour
from medseg.io.bounded.errors import DataError
from tests.datasets.lidc._messages import square

SLICES = [0.0, 2.0, 4.0, 6.0]


def _square(x: int, z: float = 0.0, half: int = 4, reader: int = 0) -> Annotation:
    return Annotation(reader, "n", {}, (Contour(z, np.array(square(x, 20, half))),))


@given(
    st.lists(
        st.lists(st.tuples(*[st.integers(0, 12)] * 3), min_size=1, max_size=6).map(lambda p: np.array(p, float)),
        min_size=2,
        max_size=5,
    ),
    st.floats(0.5, 6.0),
)
def test_nearest_distances_are_those_of_all_pairs_of_points(clouds: list[np.ndarray], limit: float) -> None:
    found = nearest_distances(clouds, limit)
    for a, first in enumerate(clouds):
        for b, second in enumerate(clouds):
            true = cdist(first, second).min() if a != b else 0.0
            assert found[a, b] == pytest.approx(true) if np.isfinite(found[a, b]) else true > limit
    assert np.array_equal(found, found.T)


@pytest.mark.trap("4.5-09")
def test_the_tolerance_shrinks_while_a_group_has_more_than_four_members() -> None:
    chain = np.full((6, 6), np.inf)
    np.fill_diagonal(chain, 0)
    for i, gap in enumerate([0.2, 0.2, 0.95, 0.2, 0.2]):
        chain[i, i + 1] = chain[i + 1, i] = gap
    groups, tolerance = grouped(chain, 1.0)
    assert groups == [[0, 1, 2], [3, 4, 5]]
    assert tolerance == pytest.approx(0.9)
    assert grouped(chain[:4, :4], 1.0) == ([[0, 1, 2, 3]], 1.0)


@pytest.mark.trap("4.5-09")
def test_a_group_that_no_tolerance_parts_stays_whole() -> None:
    groups, tolerance = grouped(np.zeros((5, 5)), 1.0)
    assert groups == [[0, 1, 2, 3, 4]]
    assert 0.1 <= tolerance < 0.1 / 0.9


def test_seven_identical_outlines_are_one_group_under_both_rules() -> None:
    seven = [_square(20)] * 7
    assert cluster_annotations(seven, (0.5, 0.5)) == [list(range(7))]
    assert cluster_like_pylidc(seven, SLICES, 2.0).groups == [list(range(7))]


@pytest.mark.trap("4.5-08")
def test_pylidc_counts_pixels_and_slices_against_a_thickness_in_millimetres() -> None:
    apart = [_square(10), _square(20)]  # edges at x 14 and 16: two pixels, 1 mm
    assert cluster_annotations(apart, (0.5, 0.5)) == [[0], [1]]
    assert cluster_like_pylidc(apart, SLICES, 2.0).groups == [[0, 1]]
    assert cluster_like_pylidc(apart, SLICES, 1.25).groups == [[0], [1]]
    stacked = [_square(20, 0.0), _square(20, 4.0)]  # two slices, 4 mm
    assert cluster_like_pylidc(stacked, SLICES, 2.0).groups == [[0, 1]]
    assert cluster_annotations(stacked, (0.5, 0.5), tolerance_mm=2.0) == [[0], [1]]


def test_pylidc_does_not_tell_readers_apart() -> None:
    same = [_square(20, reader=1), _square(21, reader=1)]
    assert cluster_like_pylidc(same, SLICES, 2.0).groups == [[0, 1]]
    assert cluster_annotations(same, (0.5, 0.5)) == [[0], [1]]


def test_nothing_to_group_and_impossible_thickness() -> None:
    assert cluster_like_pylidc([], [], 2.0).groups == []
    with pytest.raises(ValueError, match="slice_thickness_mm is 0, expected a positive"):
        cluster_like_pylidc([_square(20)], SLICES, 0)
    with pytest.raises(ValueError, match="slice_z_mm is empty"):
        cluster_like_pylidc([_square(20)], [], 2.0)


def test_the_policy_needs_a_thickness_only_for_pylidc() -> None:
    apart = [_square(10), _square(20)]
    assert NodulePolicy("kdtree").groups(apart, (0.5, 0.5), SLICES, None) == [[0], [1]]
    assert NodulePolicy("pylidc").groups(apart, (0.5, 0.5), SLICES, 2.0) == [[0, 1]]
    with pytest.raises(DataError, match="does not record; group by kdtree"):
        NodulePolicy("pylidc").groups(apart, (0.5, 0.5), SLICES, None)
    with pytest.raises(ValueError, match="cluster is 'nearest', expected one of kdtree, pylidc"):
        NodulePolicy("nearest")  # type: ignore[arg-type]


def test_the_policy_names_its_choices() -> None:
    words = NodulePolicy("pylidc").describe()
    assert (words["cluster"], words["consensus"], words["border_convention"]) == ("pylidc", "half", "exclude")
    assert "pixels and slices" in words["cluster_definition"]
    assert "who marked that nodule" in words["consensus_definition"]
