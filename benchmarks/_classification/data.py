"""Images, labels and target masks of the study, divided into training, validation and test for each seed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.datasets.lidc import MalignancyPolicy, ShapeCase, crop_mask, labelled_shapes
from medseg.datasets.medmnist import read_medmnist
from medseg.datasets.phantom.nodule_patch import nodule_patches
from medseg.datasets.splits import grouped_folds

FOLDS = 5
TRAIN, VALIDATION, TEST = 512, 200, 400
"""Largest number of images used for training and validation; number of phantoms to test on."""
SIZE_2D, SIZE_3D = 128, 32
FIELD_MM, SAME_AREA_MM2 = 64.0, 300.0
POLICY = MalignancyPolicy("median", minimum_readers=3)


class Part(NamedTuple):
    """Images of one part.

    Attributes:
        images: float32 ``[n, 1, *spatial]``.
        labels: int64 ``[n]``.
        masks: bool ``[n, 1, *spatial]`` of the target, or None where there is no target.
        diameters_mm: float32 ``[n]``, or None.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None
    diameters_mm: Tensor | None = None

    def take(self, indices: NDArray[np.int64]) -> Part:
        """The images with the given numbers."""
        chosen = torch.from_numpy(np.asarray(indices))
        return Part(*(None if field is None else field[chosen] for field in self))


class Fold(NamedTuple):
    """What one seed trains, selects and tests on.

    Attributes:
        train: training images.
        validation: decides when to stop and which weights are tested.
        test: images for the figures.
        groups: one number for each test image; images of one patient share it.
        symmetric: True if flips and quarter turns keep the label.
    """

    train: Part
    validation: Part
    test: Part
    groups: list[int]
    symmetric: bool

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return self.train.images.dim() - 2


def load_fold(data: str, seed: int) -> Fold:
    """One seed's images of a data set.

    Args:
        data: a name from ``DATA``.
        seed: 0 to 4; a fold where the data set has folds.
    """
    return DATA[data][0](seed)


def describe(data: str) -> str:
    """What the images are, for the head of a table."""
    return DATA[data][1]


def _phantom_nodule(seed: int) -> Fold:
    parts = []
    for number, count in enumerate((TRAIN, VALIDATION, TEST)):
        found = nodule_patches(count, seed=1000 * (seed + 1) + number, size=SIZE_2D)
        images = torch.from_numpy((found.images - 0.1) / 0.25)[:, None]
        parts.append(Part(images, torch.from_numpy(found.labels), torch.from_numpy(found.masks)[:, None]))
    train, validation, test = parts
    return Fold(train, validation, test, groups=list(range(1000 * seed, 1000 * seed + TEST)), symmetric=True)


@lru_cache(maxsize=1)
def _nodule_shapes() -> list[ShapeCase]:
    return list(labelled_shapes(POLICY))


def _lidc_shape(seed: int, same_area_mm2: float | None = None) -> Fold:
    cases = _nodule_shapes()
    patients = {name: i for i, name in enumerate(dict.fromkeys(case.patient_id for case in cases))}
    groups = np.array([patients[case.patient_id] for case in cases])
    labels = np.array([case.label for case in cases], dtype=np.int64)
    masks = np.stack([crop_mask(case.slice, FIELD_MM, SIZE_2D, same_area_mm2) for case in cases])[:, None]
    whole = Part(
        torch.from_numpy(masks.astype(np.float32)),
        torch.from_numpy(labels),
        torch.from_numpy(masks),
        torch.tensor([case.slice.diameter_mm for case in cases]),
    )
    folds = grouped_folds(groups.tolist(), labels.tolist(), FOLDS)
    test, validation = folds[seed % FOLDS], folds[(seed + 1) % FOLDS]
    train = np.setdiff1d(np.arange(len(cases)), np.concatenate([test, validation]))
    return Fold(whole.take(train), whole.take(validation), whole.take(test), groups[test].tolist(), symmetric=True)


def _lidc_shape_same_area(seed: int) -> Fold:
    return _lidc_shape(seed, SAME_AREA_MM2)


def _medmnist(name: str, seed: int) -> Fold:
    root = os.environ.get("MEDSEG_DATA")
    if not root:
        sys.exit("MEDSEG_DATA is not set; it must name the folder that holds classification/")
    stored = read_medmnist(Path(root) / "classification" / f"{name}.npz")
    rng = np.random.default_rng(seed)
    parts = []
    for part, most in (("train", TRAIN), ("val", VALIDATION), ("test", None)):
        images, labels = stored[part].images, stored[part].labels
        chosen = _draw(rng, labels, most) if most is not None else np.arange(len(labels))
        parts.append(Part(_as_input(images[chosen]), torch.from_numpy(labels[chosen])))
    train, validation, test = parts
    return Fold(train, validation, test, groups=list(range(len(test.labels))), symmetric=False)


def _draw(rng: np.random.Generator, labels: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most this many cases, the same number from each class as far as the classes have enough."""
    order = rng.permutation(len(labels))
    ranks = np.empty(len(labels), dtype=np.int64)
    for value in np.unique(labels):
        members = order[labels[order] == value]
        ranks[members] = np.arange(len(members))
    return np.sort(order[np.argsort(ranks[order], kind="stable")][:most])


def _as_input(images: NDArray[np.uint8]) -> Tensor:
    tensor = torch.from_numpy(images.astype(np.float32) / 255.0)[:, None]
    if tensor.dim() == 4:
        tensor = torch.nn.functional.interpolate(tensor, size=(SIZE_2D,) * 2, mode="bilinear", align_corners=False)
        return (tensor - 0.5) / 0.25
    before = (SIZE_3D - tensor.shape[-1]) // 2
    after = SIZE_3D - tensor.shape[-1] - before
    return torch.nn.functional.pad(tensor, (before, after) * 3)


def _pneumonia(seed: int) -> Fold:
    return _medmnist("pneumoniamnist", seed)


def _adrenal(seed: int) -> Fold:
    return _medmnist("adrenalmnist3d", seed)


DATA = {
    "phantom_nodule": (
        _phantom_nodule,
        "synthetic 128 x 128 fields with one 6 to 8 pixel nodule, round or spiculated; "
        f"{TRAIN} / {VALIDATION} / {TEST} new images a seed",
    ),
    "lidc_shape": (
        _lidc_shape,
        f"consensus outline of LIDC-IDRI nodules on their largest slice, 64 mm at 0.5 mm, no CT; {POLICY.describe()}; "
        "five folds of patients (three train, one validates, one tests)",
    ),
    "lidc_shape_same_area": (
        _lidc_shape_same_area,
        f"as lidc_shape, every nodule scaled to {SAME_AREA_MM2:g} mm2",
    ),
    "pneumonia": (
        _pneumonia,
        f"PneumoniaMNIST 28 x 28 enlarged to 128 x 128 (diffuse finding); {TRAIN} / {VALIDATION} images drawn evenly "
        "from the classes for each seed, official test part",
    ),
    "adrenal": (
        _adrenal,
        f"AdrenalMNIST3D 28^3 padded to 32^3 (shape of a whole organ); at most {TRAIN} / {VALIDATION} images drawn "
        "evenly from the classes for each seed, official test part",
    ),
}


def names() -> Sequence[str]:
    """Data sets of the study."""
    return tuple(DATA)
