"""Random draws in worker processes: MONAI's loader seeds every worker, torch's own does not, as the docstrings say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import monai.data
import numpy as np
import pytest
import torch
from monai.transforms import Randomizable
from monai.utils import set_determinism

import medseg.transforms
from medseg.transforms import (
    RandElasticDeformd,
    RandGuideDropoutd,
    RandHistogramMatchd,
    RandHUWindowd,
    RandMultiWindowd,
    RandSparseAnnotationMaskd,
    SimulatePromptsd,
)

WORKERS = 2
IMAGE = np.random.default_rng(0).normal(0, 100, (1, 24, 24)).astype(np.float32)
LABEL = np.zeros((1, 24, 24), np.uint8)
LABEL[0, 4:20, 5:19] = 1


class Repeated(Randomizable):
    """Many draws of a transform whose draw is a single bit."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def set_random_state(self, seed: Any = None, state: Any = None) -> Repeated:
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Any) -> dict[str, Any]:
        guide = torch.ones(1)
        return {"dropped": [float(self.transform({"guide": guide})["guide"]) for _ in range(64)]}


# Every random dictionary transform, and the item that shows its draw.
CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "RandHUWindowd": (lambda: RandHUWindowd("image", "liver", clip=False), "image"),
    "RandMultiWindowd": (lambda: RandMultiWindowd("image", ["liver", "lung"], clip=False), "image"),
    "RandHistogramMatchd": (lambda: RandHistogramMatchd("image", [IMAGE + i for i in range(99)], 1.0), "image"),
    "RandElasticDeformd": (lambda: RandElasticDeformd("image", "unet3d", 1.0), "image"),
    "RandSparseAnnotationMaskd": (lambda: RandSparseAnnotationMaskd("label", (2, 2)), "label_annotated"),
    "RandGuideDropoutd": (lambda: Repeated(RandGuideDropoutd("guide", 0.5)), "dropped"),
    "SimulatePromptsd": (lambda: SimulatePromptsd("label", "ellipse_mid_slice"), "label_prompts"),
}


def drawn(loader: type[torch.utils.data.DataLoader], transform: Any, key: str, samples: int = 2 * WORKERS) -> list[Any]:
    dataset = monai.data.Dataset([{"image": IMAGE, "label": LABEL}] * samples, transform)
    batches = loader(dataset, batch_size=1, num_workers=WORKERS, collate_fn=lambda batch: batch[0][key])
    return [np.asarray(item) for item in batches]


def same(first: Any, second: Any) -> bool:
    return np.array_equal(first, second)


@pytest.mark.parametrize("name", CASES)
def test_the_loader_of_monai_draws_other_numbers_in_every_worker(name: str) -> None:
    make, key = CASES[name]
    set_determinism(3)
    first = drawn(monai.data.DataLoader, make(), key)
    assert not any(same(first[i], first[j]) for i in range(len(first)) for j in range(i))
    set_determinism(3)
    again = drawn(monai.data.DataLoader, make(), key)
    set_determinism(None)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("name", ["RandHUWindowd", "SimulatePromptsd"])
def test_the_loader_of_torch_draws_the_same_numbers_in_all_workers(name: str) -> None:
    make, key = CASES[name]
    found = drawn(torch.utils.data.DataLoader, make().set_random_state(0), key)
    for start in range(0, len(found), WORKERS):
        assert all(same(found[start], other) for other in found[start : start + WORKERS])


def test_every_random_transform_says_which_loader_to_use() -> None:
    members = [getattr(medseg.transforms, name) for name in medseg.transforms.__all__]
    arrays = [m for m in members if isinstance(m, type) and issubclass(m, Randomizable) and m.__name__[-1] != "d"]
    assert len(arrays) == 7
    for transform in [*arrays, medseg.transforms]:
        assert "``monai.data.DataLoader``" in (transform.__doc__ or ""), transform
    assert {f"{transform.__name__}d" for transform in arrays} == set(CASES)
