"""What a training run needs for sparse downsampling: parameter groups, warm-up, and a monitor with alarms."""

from __future__ import annotations

import logging

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from medseg.layers import SparseDownsample
from medseg.training.evaluator_parameters import evaluator_parameter_groups, sparse_layers
from medseg.training.selection_monitor import SelectionMonitor
from medseg.training.warmup import SparseWarmup


def network(**options: object) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), SparseDownsample(2, 3, 4, **options), SparseDownsample(2, 3, 2, **options)
    )


def images(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_layers_are_found_by_name() -> None:
    assert list(sparse_layers(network())) == ["1", "2"]
    with pytest.raises(ValueError, match="Conv2d has no SparseDownsample layer"):
        sparse_layers(nn.Conv2d(1, 1, 1))


def test_evaluators_learn_at_a_fifth_and_are_not_decayed() -> None:
    net = network(residual="max")
    rest, evaluators = evaluator_parameter_groups(net, lr=0.01, weight_decay=0.1)
    assert (rest["lr"], rest["weight_decay"]) == (0.01, 0.1)
    assert (evaluators["lr"], evaluators["weight_decay"]) == (pytest.approx(0.002), 0.0)
    named = dict(net.named_parameters())
    assert {id(p) for p in evaluators["params"]} == {id(p) for n, p in named.items() if ".evaluator." in n}
    assert {id(p) for p in rest["params"]} == {id(p) for n, p in named.items() if ".evaluator." not in n}
    torch.optim.AdamW([rest, evaluators]).step()


def test_a_network_without_evaluators_has_one_group() -> None:
    assert len(evaluator_parameter_groups(network(evaluator="norm"), lr=0.01)) == 1


def test_the_warm_up_ends_after_its_epochs() -> None:
    net = network()
    seen = []
    trainer = Engine(lambda engine, batch: seen.append((engine.state.epoch, net[1].warm, net[2].warm)))
    SparseWarmup(net, epochs=2).attach(trainer)
    trainer.run([0], max_epochs=4)
    assert seen == [(1, True, True), (2, True, True), (3, False, False), (4, False, False)]


def test_a_saved_network_resumes_in_the_same_state() -> None:
    net, other = network(), network()
    SparseWarmup(net, epochs=2)(1)
    other.load_state_dict(net.state_dict())
    assert other[1].warm and other[2].warm


def run_monitor(net: nn.Module, masked: bool = True) -> tuple[SelectionMonitor, Engine]:
    batches = [{"image": images(seed), "mask": torch.ones(4, 1, 16, 16)} for seed in (0, 1)]
    evaluator = Engine(lambda engine, batch: net(batch["image"]))
    monitor = SelectionMonitor(net, (lambda batch: batch["mask"]) if masked else None)
    monitor.attach(evaluator)
    evaluator.run(batches)
    return monitor, evaluator


def test_figures_are_means_over_the_batches_of_a_validation() -> None:
    net = network().eval()
    monitor, evaluator = run_monitor(net)
    figures = evaluator.state.selection_health
    assert list(figures) == ["1", "2"]
    assert figures["1"].distinct == 1
    assert figures["1"].cover == pytest.approx(0.25)  # a mask that covers all loses what the map loses
    assert 0 < figures["1"].moved < 1
    assert monitor.history == [figures]
    assert not net[1].record and net[1].selection is None


def test_without_a_mask_the_cover_is_unknown() -> None:
    _, evaluator = run_monitor(network().eval(), masked=False)
    assert evaluator.state.selection_health["1"].cover != evaluator.state.selection_health["1"].cover


def test_a_choice_that_no_image_changes_raises_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run_monitor(network(evaluator="slots").eval())
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert warnings[0].startswith("1: every image keeps the same patches; lower the evaluators' learning rate")


def test_repeated_patches_raise_an_alarm() -> None:
    net = network(evaluator=("slots", {"position": 0.0, "norm": 1.0}), assignment="argmax").eval()
    monitor = SelectionMonitor(net)
    monitor.start()
    net(images())
    monitor.update()
    figures, alarms = monitor.finish()
    assert figures["1"].distinct == pytest.approx(0.25)
    assert alarms[0] == "1: only 25% of the slots show distinct patches; use assignment='unique'"


def test_a_cover_that_falls_twice_raises_an_alarm_but_not_in_warm_up() -> None:
    net = network(evaluator="norm").eval()
    strong = torch.zeros(4, 1, 16, 16)
    strong[:, :, :8, :8] = 10 * torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    masks = [torch.zeros(4, 1, 16, 16) for _ in range(4)]
    for mask, side in zip(masks, (8, 9, 12, 16), strict=True):
        mask[:, :, :side, :side] = 1
    for warm, expected in ((False, [0, 0, 1, 1]), (True, [0, 0, 0, 0])):
        monitor, found = SelectionMonitor(net), []
        for layer in sparse_layers(net).values():
            layer.warm = warm
        for mask in masks:
            monitor.start()
            net(strong)
            monitor.update(mask)
            _, alarms = monitor.finish()
            found.append(sum(a.startswith("1: the target's cover fell twice in a row") for a in alarms))
        assert found == expected
