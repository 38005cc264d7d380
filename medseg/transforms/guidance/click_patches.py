"""Patches of the image around clicks, at several scales, resampled to one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends
from torch import Tensor
from torch.nn import functional as F

from medseg._arguments import checked_arguments
from medseg.transforms._checks import check_in_order, whole_number
from medseg.transforms.guidance.prompts import (
    OutsideRule,
    PromptFrame,
    Prompts,
    PromptTable,
    check_frame,
    check_outside,
    move_prompts,
    place_prompts,
    read_prompts,
)
from medseg.transforms.texture._beside import AddsBeside, as_image, as_vectors

__all__ = ["ClickPatches", "ClickPatchesd"]


@checked_arguments
class ClickPatches(Transform):
    """Squares (3-D: cubes) around the foreground clicks, each averaged down to the same number of voxels.

    A square of ``side`` voxels has the click in its middle (for an even side, at the voxel after the middle). Beyond
    the image, its border voxels are repeated. Several clicks give the mean of their patches. No click gives zeros;
    :meth:`with_validity` distinguishes this from a dark image. Ellipses and boxes are used as clicks at their centres.

    The patches are the input of `medseg.layers.guidance.PatchModulator`.

    A voxel that is not finite makes the voxels of the patches that average it not finite, and no others.

    Args:
        sides: sides of the squares in voxels.
        size: side of every patch in the result, at most the smallest of ``sides``.
        frame: frame of the prompts, see :class:`GuideMap`.
        outside: rule for clicks outside of the image: "refuse" raises an error (a click within one voxel of the border
            is accepted), "clip" moves them to the nearest voxel, "keep" keeps them, so that their patches show the
            repeated border.

    Raises:
        ValueError: for an unknown frame or rule, or a size that is larger than a side.

    Example:
        >>> image = np.random.normal(0, 100, (1, 200, 200))
        >>> clicks = [[1, 90.0, 120.0, 0, 0]]
        >>> ClickPatches(sides=(32, 64, 128), size=32)(image, clicks).shape
        torch.Size([3, 32, 32])
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        sides: Sequence[int] = (32, 64, 128),
        size: int = 32,
        frame: PromptFrame = "voxel",
        outside: OutsideRule = "refuse",
    ) -> None:
        check_frame(frame)
        check_outside(outside)
        check_in_order("sides", sides)
        self.sides, self.size = tuple(whole_number("sides", s) for s in sides), whole_number("size", size)
        if not self.sides or size < 1 or min(sides) < size:
            raise ValueError(f"sides is {tuple(sides)}, size {size}; expected sides of at least the size, that from 1")
        self.frame, self.outside = frame, outside

    def __call__(self, img: NdarrayOrTensor, prompts: PromptTable) -> NdarrayOrTensor:
        """Return patches ``(len(sides) * C, size, ...)`` as float32; all channels of the first side come first.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes.
            prompts: table ``(N, 1 + 2 d)``, see :class:`Prompts`; an array, a tensor or a list of rows.

        Raises:
            ValueError: for shapes that do not match, a world frame and an image without an affine, or clicks outside of
                the image that ``outside`` does not allow.
        """
        return self.with_validity(img, prompts)[0]

    def with_validity(self, img: NdarrayOrTensor, prompts: PromptTable) -> tuple[NdarrayOrTensor, Tensor]:
        """Return the patches as a call does, and whether there is a foreground click (a bool tensor without axes).

        Args:
            img: as in a call.
            prompts: as in a call.

        Raises:
            ValueError: as a call does.
        """
        tracked, image = as_image(img)
        moved = move_prompts(read_prompts(prompts, image.ndim - 1), img, self.frame, to_world=False)
        clicks = moved.kind == 1
        clicked = Prompts(moved.kind[clicks], moved.centre[clicks], moved.extent[clicks])
        centres = place_prompts(clicked, image.shape[1:], self.outside).centre
        found = image.new_zeros(len(self.sides), len(image), *(self.size,) * (image.ndim - 1))
        for centre in centres:
            middle = np.floor(centre + 0.5).astype(np.int64)
            found += torch.stack([self._patch(image, middle.tolist(), side) for side in self.sides]) / len(centres)
        return as_vectors(found.flatten(0, 1), tracked, image.dtype), torch.tensor(bool(len(centres)))

    def _patch(self, image: Tensor, middle: list[int], side: int) -> Tensor:
        for axis, centre in enumerate(middle, start=1):
            places = torch.arange(centre - side // 2, centre - side // 2 + side, device=image.device)
            image = image.index_select(axis, places.clamp(0, image.shape[axis] - 1))
        return F.interpolate(image[None], size=(self.size,) * len(middle), mode="area")[0]


@checked_arguments
class ClickPatchesd(AddsBeside):
    """Dictionary form of :class:`ClickPatches`: the patches of ``key`` become ``key + postfix``.

    The item ``key + postfix + "_valid"`` says whether there is a click; networks take it as ``guided``.

    Args:
        keys: the images; they do not change.
        prompts_key: item of the table of prompts.
        sides: see :class:`ClickPatches`.
        size: see :class:`ClickPatches`.
        frame: see :class:`ClickPatches`.
        outside: see :class:`ClickPatches`.
        postfix: appended to the key to form the name of the patches.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Raises:
        ValueError: also for an empty postfix, which would overwrite the image.

    Example:
        >>> image = np.random.normal(0, 100, (1, 200, 200))
        >>> found = ClickPatchesd("image", "clicks")({"image": image, "clicks": [[1, 90.0, 120.0, 0, 0]]})
        >>> found["image_patches"].shape
        torch.Size([3, 32, 32])
        >>> bool(found["image_patches_valid"])
        True
    """

    backend = ClickPatches.backend
    further = ("_valid",)

    def __init__(
        self,
        keys: KeysCollection,
        prompts_key: str,
        sides: Sequence[int] = (32, 64, 128),
        size: int = 32,
        frame: PromptFrame = "voxel",
        outside: OutsideRule = "refuse",
        postfix: str = "_patches",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, ClickPatches(sides, size, frame, outside), postfix, prompts_key, allow_missing_keys)

    def derive(self, image: Any, *second: Any) -> tuple[Any, ...]:
        """The patches, and whether there is a click."""
        found: tuple[Any, ...] = self.transform.with_validity(image, *second)
        return found
