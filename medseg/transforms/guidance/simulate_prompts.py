"""Simulated prompts of a user, drawn for the objects of a label map."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from numpy.typing import NDArray

from medseg._arguments import checked_arguments
from medseg.geometry import check_whole_labels
from medseg.transforms._arrays import numpy_array, tracked_tensor
from medseg.transforms._checks import whole_number
from medseg.transforms.guidance import _simulate
from medseg.transforms.guidance.prompts import PromptFrame, Prompts, check_frame, move_prompts

__all__ = ["PromptKind", "SimulatePrompts", "SimulatePromptsd"]

PromptKind = Literal["ellipse_mid_slice", "clicks_dins", "clicks_deepigeos", "boxes", "scribbles"]
_RULES: dict[str, Callable[..., Prompts]] = {
    "ellipse_mid_slice": _simulate.ellipse_mid_slice,
    "clicks_dins": _simulate.clicks_dins,
    "clicks_deepigeos": _simulate.clicks_deepigeos,
    "boxes": _simulate.boxes,
    "scribbles": _simulate.scribbles,
}
_LEAST = {"sigma_jitter": 1, "most": 1, "per_click": 1}
_COUNTS = ("least", "most", "per_click")
"""Options that are numbers of voxels or clicks; the margin of a box is one as well."""


@checked_arguments
class SimulatePrompts(Randomizable, Transform):
    """Draw random prompts for the objects of a label map; :class:`GuideMap` makes maps of the resulting table.

    - ``ellipse_mid_slice``: for every object an ellipse at its middle slice (options ``centre_jitter``,
      ``sigma_jitter``, ``min_sigma``; G-Net);
    - ``clicks_dins``: clicks in the target and in a band around it (``most``, ``margin``, ``apart``, ``band``; DINs,
      Zhang et al., 2021);
    - ``clicks_deepigeos``: clicks on the errors of a prediction (``least``, ``per_click``; DeepIGeoS, Wang et al.,
      2019);
    - ``boxes``: the bounding box of every object with a random margin (``margin``; BIFSeg, Wang et al., 2018);
    - ``scribbles``: strokes inside the objects and near them (``length``, ``margin``).

    Lengths in options are in voxels. An object is a connected component of the target. A label without a target gives a
    table without rows, except for clicks on false positives of a prediction.

    With worker processes, use ``monai.data.DataLoader``: with torch's own, all workers draw the same numbers.

    A label that is not finite is refused.

    Args:
        kind: see above.
        frame: frame of the result: "voxel" indices of the label, or world coordinates in mm, "RAS" or "LPS", from its
            current affine. World prompts stay correct if the image is resampled, rotated or cropped afterwards. An
            elastic deformation does not move them, so deform before this transform.
        target: label values of the target; None for all values except 0.
        slice_axis: spatial axis perpendicular to the slices that the user sees (3-D only); for axial slices of images
            loaded by MONAI it is the last one.
        options: options of the kind, see above.

    Raises:
        ValueError: for an unknown kind, frame or option, or a number that is out of range or should be whole.

    Example:
        >>> label = np.zeros((1, 32, 32), np.uint8)
        >>> label[0, 10:20, 5:15] = 1
        >>> SimulatePrompts("boxes", options={"margin": 0})(label).tolist()
        [[1.0, 14.5, 9.5, 5.0, 5.0]]
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self,
        kind: PromptKind,
        frame: PromptFrame = "voxel",
        target: int | Sequence[int] | None = None,
        slice_axis: int = -1,
        options: Mapping[str, float] | None = None,
    ) -> None:
        if kind not in _RULES:
            raise ValueError(f"kind is {kind!r}, expected one of {', '.join(_RULES)}")
        check_frame(frame)
        slice_axis = whole_number("slice_axis", slice_axis)
        if not -3 <= slice_axis < 3:
            raise ValueError(f"slice_axis is {slice_axis}, expected a spatial axis from -3 to 2")
        self.options = dict(options or {})
        known = [name for name, p in inspect.signature(_RULES[kind]).parameters.items() if p.kind == p.KEYWORD_ONLY]
        for name, value in self.options.items():
            if name not in known:
                raise ValueError(f"options has {name!r}, expected of {', '.join(known)} for kind {kind!r}")
            if not (np.isfinite(value) and value >= _LEAST.get(name, 0)):
                raise ValueError(f"options has {name} = {value}, expected a number from {_LEAST.get(name, 0)}")
            if name in _COUNTS or (kind == "boxes" and name == "margin"):
                self.options[name] = whole_number(f"option {name}", value)
        self.kind, self.frame, self.slice_axis = kind, frame, slice_axis
        self.target: NDArray[np.int64] | None = None
        if target is not None:
            values = target if isinstance(target, Iterable) else [target]
            self.target = np.array([whole_number("label in target", value) for value in values], dtype=np.int64)
        self.prompts: Prompts | None = None

    def randomize(self, data: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
        """Draw for a target mask and a predicted one, both without channel axis."""
        target, pred = data
        axis = self.slice_axis % target.ndim if target.ndim == 3 else 0
        self.prompts = _RULES[self.kind](target, pred, axis, self.R, **self.options)

    def __call__(
        self, label: NdarrayOrTensor, pred: NdarrayOrTensor | None = None, randomize: bool = True
    ) -> NdarrayOrTensor:
        """Return the table ``(N, 1 + 2 d)`` as float32: class (1 foreground, 0 background), centre, extents.

        Args:
            label: label map ``(1, *spatial)`` with two or three spatial axes.
            pred: predicted label map of the same shape for ``clicks_deepigeos``; None for an empty prediction.
            randomize: True draws again; False uses the last draw again.

        Raises:
            ValueError: for other shapes, values that are not whole numbers, or a world frame and a label without an
                affine.
        """
        tensor = tracked_tensor(label, "label")
        if tensor.ndim not in (3, 4) or tensor.shape[0] != 1 or 0 in tensor.shape:
            raise ValueError(
                f"label has shape {tuple(tensor.shape)}, expected one channel (1, *spatial) with 2 or 3 spatial axes, "
                "none of them empty"
            )
        if pred is not None and tuple(pred.shape) != tuple(tensor.shape):
            raise ValueError(f"pred has shape {tuple(pred.shape)}, expected {tuple(tensor.shape)} as the label")
        if randomize or self.prompts is None:
            mask = self._mask(tensor, "label")
            self.randomize((mask, np.zeros_like(mask) if pred is None else self._mask(pred, "pred")))
        assert self.prompts is not None  # drawn above
        moved = move_prompts(self.prompts, label, self.frame, to_world=True)
        result: NdarrayOrTensor = convert_to_dst_type(moved.table().astype(np.float32), tensor, dtype=torch.float32)[0]
        if isinstance(result, MetaTensor):
            result.clear_pending_operations()  # pending transforms of the label do not apply to the table
        return result

    def _mask(self, label: NdarrayOrTensor, what: str) -> NDArray[np.bool_]:
        values = numpy_array(label, what)[0]
        check_whole_labels(values, what)
        return values != 0 if self.target is None else np.isin(values, self.target)


@checked_arguments
class SimulatePromptsd(Randomizable, MapTransform):
    """Dictionary form of :class:`SimulatePrompts`: the prompts of a label become the item ``key + postfix``.

    Args:
        keys: the labels; they do not change. Prompts are drawn for each of them independently.
        kind: see :class:`SimulatePrompts`.
        frame: see :class:`SimulatePrompts`.
        target: see :class:`SimulatePrompts`.
        slice_axis: see :class:`SimulatePrompts`.
        options: see :class:`SimulatePrompts`.
        pred_key: item of the prediction; None for no prediction.
        postfix: appended to the key to form the name of the prompts.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Raises:
        ValueError: for an empty postfix, which would overwrite the label.

    Example:
        >>> label = np.zeros((1, 32, 32), np.uint8)
        >>> label[0, 10:20, 5:15] = 1
        >>> simulate = SimulatePromptsd("label", "boxes", options={"margin": 0})
        >>> simulate({"label": label})["label_prompts"].tolist()
        [[1.0, 14.5, 9.5, 5.0, 5.0]]
    """

    backend = SimulatePrompts.backend

    def __init__(
        self,
        keys: KeysCollection,
        kind: PromptKind,
        frame: PromptFrame = "voxel",
        target: int | Sequence[int] | None = None,
        slice_axis: int = -1,
        options: Mapping[str, float] | None = None,
        pred_key: Hashable | None = None,
        postfix: str = "_prompts",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if not postfix:
            raise ValueError("postfix is '', expected a text such as '_prompts' that keeps the label")
        self.pred_key, self.postfix = pred_key, postfix
        self.simulate = SimulatePrompts(kind, frame, target, slice_axis, options)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> SimulatePromptsd:
        """Set the seed of the random numbers and return this transform."""
        super().set_random_state(seed, state)
        self.simulate.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the prompts added.

        Raises:
            KeyError: if the item of the prediction is missing.
            ValueError: if an item with the name of the output exists already.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            name = f"{key}{self.postfix}"
            if name in data:
                raise ValueError(f"item {name!r} exists already, expected a new name; choose another postfix")
            if self.pred_key is not None and self.pred_key not in data:
                raise KeyError(f"no item {self.pred_key!r} with the prediction; found {sorted(map(str, data))}")
            result[name] = self.simulate(data[key], None if self.pred_key is None else data[self.pred_key])
        return result
