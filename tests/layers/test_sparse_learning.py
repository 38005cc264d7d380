"""Training on a synthetic task of small targets: the recommended placement learns, and selects the target."""

from __future__ import annotations

import pytest
import torch

from tests.layers._blob_task import BlobNet, blobs, evaluate, train


@pytest.fixture
def one_thread():
    """Two short runs side by side with other tests: more threads would cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "warm", "least"),
    [({"evaluator": "norm"}, 0, 0.93), ({}, 4, 0.94)],
    ids=["norm pick, not learned", "learned shared score"],
)
def test_the_recommended_placement_finds_blobs(one_thread: None, options: dict, warm: int, least: float) -> None:
    torch.manual_seed(0)
    network = BlobNet("max-2sd-max", **options)
    train(network, blobs(1200, seed=0), epochs=12, warm=warm)
    accuracy, survived = evaluate(network, blobs(1000, seed=1))
    assert accuracy > least
    assert survived > 0.9


def test_half_of_the_images_hold_a_blob_of_six_to_eight_pixels() -> None:
    data = blobs(40, seed=3)
    assert data.labels.float().mean() == 0.5
    width = data.masks.amax(2).sum((1, 2))
    assert width[data.labels == 0].max() == 0
    present = width[data.labels == 1]
    assert (present.min() >= 5) and (present.max() <= 9)
