"""A prediction and several readers in one table: known answers."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.metrics import reader_case, reader_table
from medseg.metrics.readers import half_consensus


def row(text: str) -> np.ndarray:
    return np.array([letter == "x" for letter in text])


def test_every_comparison_of_two_readers_is_known() -> None:
    prediction, readers = row("xx..."), [row("xxx.."), row(".xxx.")]
    found = reader_case(prediction, readers)
    assert found.prediction_consensus == pytest.approx(2 * 2 / 6)  # half of two readers is either of them: xxxx.
    assert found.prediction_reader == pytest.approx((2 * 2 / 5 + 2 * 1 / 5) / 2)
    assert found.reader_reader == found.reader_others == pytest.approx(2 * 2 / 6)
    assert found.prediction_others == found.prediction_reader
    assert found.readers == 2


def test_a_reader_is_compared_with_a_consensus_that_does_not_hold_him() -> None:
    readers = [row("x...."), row("xxxx."), row("xxxx."), row("xxxx.")]
    found = reader_case(row("xxxx."), readers)
    assert found.prediction_consensus == 1.0
    assert found.reader_others == pytest.approx((2 / 5 + 3 * 1.0) / 4)
    assert found.prediction_others == 1.0


def test_one_reader_alone_has_no_ceiling() -> None:
    found = reader_case(row("xx"), [row("xx")])
    assert (found.prediction_consensus, found.prediction_reader) == (1.0, 1.0)
    assert np.isnan([found.reader_reader, found.reader_others, found.prediction_others]).all()
    table = reader_table([found, reader_case(row("x."), [row("x."), row("xx")])])
    assert (table["reader_others"].items, table["prediction_consensus"].items) == (1, 2)


def test_readers_who_do_not_overlap_have_an_empty_consensus_of_three() -> None:
    readers = [row("x.."), row(".x."), row("..x")]
    assert not half_consensus(readers).any()
    assert reader_case(row("x.."), readers).prediction_consensus == 0.0
    assert reader_case(row("..."), readers).prediction_consensus == 1.0  # both empty


def test_a_random_cohort_of_readers_like_the_prediction_has_equal_rows() -> None:
    """A prediction drawn as the readers are is as good as a reader: the two rows that can be compared agree."""
    rng = np.random.default_rng(0)
    truth = np.abs(np.linspace(-2, 2, 400)) < 1
    draws = [[truth ^ (rng.random(400) < 0.1) for _ in range(5)] for _ in range(150)]
    table = reader_table([reader_case(masks[0], masks[1:]) for masks in draws])
    assert table["prediction_others"].value == pytest.approx(table["reader_others"].value, abs=0.005)
    assert table["prediction_reader"].value == pytest.approx(table["reader_reader"].value, abs=0.005)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no reader"):
        reader_case(row("x"), [])
    with pytest.raises(ValueError, match="must be on one grid"):
        reader_case(row("x"), [row("xx")])
    with pytest.raises(ValueError, match="there is no case"):
        reader_table([])
