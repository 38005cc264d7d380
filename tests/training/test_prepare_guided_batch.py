"""Guidance in MONAI engines: what a batch hands to the network, training and evaluation with it, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import SlidingWindowInferer

from medseg.layers.guidance import Guidance
from medseg.networks import create
from medseg.training.prepare_guided_batch import PrepareGuidedBatch
from medseg.transforms.guidance import RandGuideDropoutd

KEYS = {"appearance": "histograms", "spatial": "guide", "guided": "guided"}


def samples(count: int = 4) -> list[dict[str, Any]]:
    draw = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randn(1, 16, 16, generator=draw),
            "label": torch.randint(0, 2, (1, 16, 16), generator=draw),
            "histograms": torch.rand(2, 1, 10, generator=draw).softmax(-1),
            "guide": torch.rand(1, 16, 16, generator=draw),
        }
        for _ in range(count)
    ]


def small() -> Any:
    torch.manual_seed(0)
    return create(
        "guided_unet",
        in_channels=1,
        out_channels=2,
        channels=(4, 6, 8),
        appearance=("fc", {"bins": 10, "widths": (8,)}),
    )


def test_items_of_a_batch_become_one_argument() -> None:
    batch = {"image": torch.zeros(2, 1, 4, 4), "label": torch.zeros(2, 1, 4, 4), "h": torch.ones(2, 2, 10)}
    image, label, rest, arguments = PrepareGuidedBatch({"appearance": "h"})(batch, "cpu")
    assert image is batch["image"] and label is batch["label"] and rest == ()
    assert list(arguments) == ["guidance"] and arguments["guidance"].tensors().keys() == {"appearance"}
    assert torch.equal(arguments["guidance"].appearance, batch["h"])


def test_a_trainer_hands_guidance_to_the_network_also_under_autocast() -> None:
    net, seen = small(), list[Guidance]()
    net.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["guidance"]), with_kwargs=True)
    dropped = RandGuideDropoutd(["histograms", "guide"], prob=0.5, guided_key="guided").set_random_state(0)
    before = [p.detach().clone() for p in net.density.parameters()]
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=DataLoader(Dataset(samples(), dropped), batch_size=2),
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), 0.5),
        loss_function=lambda out, label: torch.nn.functional.cross_entropy(out.float(), label[:, 0].long()),
        prepare_batch=PrepareGuidedBatch(KEYS),
        amp_kwargs={"dtype": torch.bfloat16},
    ).run()
    assert len(seen) == 4 and all(type(given) is Guidance and given.guided.dtype == torch.bool for given in seen)
    flags = torch.cat([given.guided for given in seen])
    assert flags.any() and not flags.all()
    assert any(not torch.equal(p, old) for p, old in zip(net.density.parameters(), before, strict=True))


def test_an_evaluator_guides_every_window_of_a_sliding_window_inferer() -> None:
    net = small().eval()
    for parameter in net.density.parameters():
        torch.nn.init.normal_(parameter)
    wide = {**samples(1)[0], "image": torch.randn(1, 16, 32)}
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset([wide]), batch_size=1),
        network=net,
        inferer=SlidingWindowInferer((16, 16), sw_batch_size=1, overlap=0),
        prepare_batch=PrepareGuidedBatch({"appearance": "histograms"}),
        decollate=False,
    )
    evaluator.run()
    known = Guidance(wide["histograms"][None])
    with torch.no_grad():
        halves = [net(half[None], guidance=known) for half in wide["image"].split(16, -1)]
    torch.testing.assert_close(torch.as_tensor(evaluator.state.output["pred"]), torch.cat(halves, -1))


def test_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="keys has 'density' among its fields; expected some of appearance, spatial"):
        PrepareGuidedBatch({"density": "histograms"})
    with pytest.raises(ValueError, match="keys has no field"):
        PrepareGuidedBatch({})
    with pytest.raises(ValueError, match="the batch has no item 'guide'; it has image"):
        PrepareGuidedBatch({"spatial": "guide"})({"image": torch.zeros(1, 1, 4, 4)})


def test_several_flags_are_joined_and_other_fields_take_one_item() -> None:
    batch = {"image": torch.zeros(4, 1, 4, 4), "guide": torch.zeros(4, 1, 4, 4)}
    batch |= {"kept": torch.tensor([1, 1, 0, 0]), "clicked": torch.tensor([True, False, True, False])}
    prepare = PrepareGuidedBatch({"spatial": "guide", "guided": ["kept", "clicked"]})
    guidance = prepare(batch, "cpu")[3]["guidance"]
    assert guidance.guided.dtype == torch.bool and guidance.guided.tolist() == [True, False, False, False]
    del batch["kept"]
    with pytest.raises(ValueError, match="the batch has no item 'kept'"):
        prepare(batch)
    for wrong in ({"spatial": ["guide"]}, {"spatial": "guide", "guided": []}):
        with pytest.raises(ValueError, match=r"expected the name of one item"):
            PrepareGuidedBatch(wrong)
