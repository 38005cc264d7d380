"""The networks of the classification study: equal depth, what a selection keeps, and how each part is trained."""

from __future__ import annotations

import pytest
import torch

from benchmarks._classification.data import Fold, Part
from benchmarks._classification.network import Classifier, parameters_of
from benchmarks._classification.rows import POOLING, Row, rows_of
from benchmarks._classification.training import Settings, macs_of, parameter_groups, train_and_test

RECIPE = next(row for row in POOLING if row.name == "Recipe")
LITERAL = next(row for row in POOLING if row.name == "4SD literal + loss")


def _part(count: int, seed: int, dims: int = 2) -> Part:
    """A bright square or cross in a dark noisy field: easy, so that a few epochs show whether anything is learned."""
    side = 128 if dims == 2 else 32
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = 0.1 * torch.randn(count, 1, *[side] * dims, generator=generator)
    masks = torch.zeros(images.shape, dtype=torch.bool)
    for i in range(count):
        start = torch.randint(0, side - 8, (dims,), generator=generator).tolist()
        box = tuple(slice(a, a + 8) for a in start)
        masks[(i, 0, *box)] = True
        images[(i, 0, *box)] += 1.0 + 2.0 * float(labels[i])
    return Part(images, labels, masks)


def _fold(dims: int = 2, count: int = 64) -> Fold:
    parts = [_part(count, seed, dims) for seed in range(3)]
    return Fold(*parts, groups=list(range(count)), symmetric=dims == 2)


@pytest.mark.parametrize("row", rows_of("phantom_nodule", explore=True), ids=lambda row: row.name)
def test_every_row_halves_six_times_and_reaches_every_parameter(row: Row) -> None:
    torch.manual_seed(0)
    network = Classifier(row)
    part = _part(4, 0)
    for layer in network.sparse_layers():
        layer.warm = False
    loss = torch.nn.functional.cross_entropy(network(part.images, part.masks), part.labels)
    loss.backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    assert not silent
    assert network.follow(part.images, part.masks).shape == (4, 1, 2, 2)
    assert parameters_of(network) < 1_000_000


@pytest.mark.parametrize("row", rows_of("adrenal"), ids=lambda row: row.name)
def test_three_dimensional_rows_halve_four_times(row: Row) -> None:
    network = Classifier(row, spatial_dims=3, side=32)
    part = _part(2, 0, dims=3)
    assert network(part.images).shape == (2, 2)
    assert network.follow(part.images, part.masks).shape == (2, 1, 2, 2, 2)


def test_a_bright_target_outlives_the_norm_pick_and_fills_more_of_the_last_map() -> None:
    part = _part(8, 1)
    torch.manual_seed(0)
    plain, picked = Classifier(Row("max")).eval(), Classifier(Row("norm", "4sd", evaluator="norm")).eval()
    picked.load_state_dict(plain.state_dict(), strict=False)
    shares = [float(n.follow(part.images, part.masks).float().mean()) for n in (plain, picked)]
    assert shares[1] > 0
    assert plain.follow(part.images, part.masks).flatten(1).any(1).all(), "max pooling never loses a target"


def test_evaluators_learn_slower_and_are_not_decayed() -> None:
    settings = Settings()
    groups = parameter_groups(Classifier(RECIPE), RECIPE, settings)
    assert [group["weight_decay"] for group in groups] == [settings.decay, 0.0]
    assert groups[1]["lr"] == pytest.approx(0.2 * settings.rate)
    assert len(parameter_groups(Classifier(Row("max")), Row("max"), settings)) == 1


def test_multiply_adds_of_the_plain_network_by_hand() -> None:
    channels, before, expected = (8, 8, 16, 24, 32, 48), 1, 0
    for stage, width in enumerate(channels):
        expected += 9 * before * width * (128 >> stage) ** 2
        before = width
    assert macs_of(Classifier(Row("max")), _part(4, 0)) == expected + 48 * 2


@pytest.mark.parametrize("row", [Row("max"), RECIPE, LITERAL], ids=lambda row: row.name)
def test_a_run_learns_stops_and_says_how(row: Row) -> None:
    settings = Settings(epochs=8, evaluations=1, patience=2, warmup=1, slower_after=1)
    result = train_and_test(row, _fold(), seed=0, settings=settings)
    record = result.record
    assert len(result.scores) == 64
    assert 1 < record["epochs"] <= 8
    assert record["capped"] == (record["epochs"] - record["best_epoch"] < 2)
    assert set(record) >= {"seconds", "cpu_seconds", "parameters", "macs", "health", "validation_loss"}
    if row.placement != "max":
        assert all(0 < value <= 1 for value in record["health"]["distinct"])


def test_the_seed_decides_the_run() -> None:
    settings = Settings(epochs=2, evaluations=1, patience=1, warmup=0)
    fold = _fold(count=32)
    first, again = (train_and_test(RECIPE, fold, seed=3, settings=settings).scores for _ in range(2))
    assert first == again
