"""The memory estimate against a sum done by hand."""

from __future__ import annotations

from medseg.inference.memory import available_memory, estimate_bytes


def test_volumes_on_both_grids_are_counted() -> None:
    # 1000 voxels of 1 x 1 x 2 mm are 250 voxels at 2 mm; int16, two classes.
    native = 1000 * (2 + 4 + 4 + 1)
    resampled = 250 * 4 * (1 + 2 + 1)
    assert estimate_bytes((10, 10, 10), 2, (1.0, 1.0, 2.0), 2, (2.0, 2.0, 2.0)) == native + resampled


def test_without_resampling_both_grids_are_the_same() -> None:
    assert estimate_bytes((10, 10, 10), 2, (1.0, 1.0, 2.0), 2) == 1000 * (11 + 16)


def test_free_memory_is_positive_where_it_is_known() -> None:
    free = available_memory()
    assert free is None or free > 1 << 20
