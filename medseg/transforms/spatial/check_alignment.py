"""Check that a label is on the grid of its image, with a policy for labels that are not."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from numpy.typing import NDArray

from medseg._arguments import checked_arguments
from medseg.geometry import Alignment, compare_grids
from medseg.geometry.regrid import SAME_GRID_MM
from medseg.transforms._arrays import numpy_array
from medseg.transforms.spatial.points import affine_of

__all__ = ["AlignmentPolicy", "CheckAlignment", "CheckAlignmentd"]

AlignmentPolicy = Literal["raise", "reorder", "resample", "copy_from_image"]
"""What to do with a label that is not on the grid of its image:

* "raise": raise an error;
* "reorder": trust the headers if they describe the same physical grid in another order of the axes, and permute and
  flip the array of the label without interpolation; raise an error otherwise;
* "resample": trust the headers; reorder if this is sufficient, otherwise use the nearest label voxel (0 outside);
* "copy_from_image": trust the arrays, index by index, and give the label the affine of the image.
"""

_CLEARLY = 0.05  # a larger difference of Dice scores contradicts a policy
_FIX = (
    "choose policy 'reorder' or 'resample' if the label's header is right, 'copy_from_image' if the arrays belong "
    "together index by index"
)


@checked_arguments
class CheckAlignment(Transform):
    """Return the label if it is on the grid of the image; otherwise apply the policy, with a warning or an error.

    If the headers of a label and its image contradict each other, transforms that use the headers (``Orientation``,
    ``Spacing``) displace the label relative to the image without a warning. The headers alone cannot show which one is
    right. With ``prior_hu`` the intensities are used as well: the overlap (Dice) of the label with the voxels of
    plausible intensity is computed index by index and according to the headers. Both values are in the message, and a
    policy that they clearly contradict (by more than 0.05) is an error.

    Voxels that are not finite are passed on as they are; where an image is resampled, they spread to the voxels that
    are interpolated from them.

    Args:
        policy: see :data:`AlignmentPolicy`.
        tolerance_mm: displacements of the corner voxels up to this length are regarded as rounding errors.
        prior_hu: lowest and highest plausible intensity of the labelled structure, e.g. ``(40, 180)`` for the liver in
            contrast-enhanced CT; the image must be in HU. None uses only the headers.

    Raises:
        ValueError: for an unknown policy, a negative tolerance or an empty range.

    Example:
        >>> from monai.data import MetaTensor
        >>> image = MetaTensor(torch.zeros(1, 4, 4, 4), affine=torch.eye(4))
        >>> label = MetaTensor(torch.zeros(1, 4, 4, 4), affine=torch.eye(4))
        >>> CheckAlignment()(label, image) is label
        True
        >>> label.affine[0, 3] = 2.0
        >>> CheckAlignment()(label, image)
        Traceback (most recent call last):
            ...
        ValueError: label: label and image: corners lie up to 2.000 mm apart; choose policy ...
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self,
        policy: AlignmentPolicy = "raise",
        tolerance_mm: float = SAME_GRID_MM,
        prior_hu: Sequence[float] | None = None,
    ) -> None:
        if policy not in get_args(AlignmentPolicy):
            raise ValueError(f"policy is {policy!r}, expected one of {', '.join(get_args(AlignmentPolicy))}")
        if not tolerance_mm >= 0:
            raise ValueError(f"tolerance_mm is {tolerance_mm}, expected a number of millimetres from 0")
        if prior_hu is not None and not (len(prior_hu) == 2 and prior_hu[0] < prior_hu[1]):
            raise ValueError(f"prior_hu is {tuple(prior_hu)}, expected (lowest, highest) in HU")
        self.policy = policy
        self.tolerance_mm = float(tolerance_mm)
        self.prior_hu = None if prior_hu is None else (float(prior_hu[0]), float(prior_hu[1]))

    def __call__(self, label: MetaTensor, image: MetaTensor) -> MetaTensor:
        """Return the label on the grid of the image: the label itself if it is on it, else a new one, with a warning.

        Args:
            label: label map ``(C, i, j, k)``.
            image: its image ``(C, i, j, k)``.

        Raises:
            ValueError: for a label that the policy does not accept, with its file (if known), the difference and the
                possible policies.
        """
        _check_volume(label, "label")
        _check_volume(image, "image")
        found = compare_grids(
            affine_of(label), label.shape[1:], affine_of(image), image.shape[1:], tolerance_mm=self.tolerance_mm
        )
        if found.kind == "same":
            return label
        name = label.meta.get("filename_or_obj", "label")
        finding = f"{name}: label and image: {found.describe()}"
        fixed = self._fix(label, image, found, finding)
        self._ask_contents(label, image, found, finding)
        if fixed is None:
            raise ValueError(f"{finding}; {_FIX}")
        warnings.warn(f"{finding}; put on the image's grid by policy {self.policy!r}", stacklevel=2)
        return _with_affine_of(image, label, fixed)

    def _fix(self, label: MetaTensor, image: MetaTensor, found: Alignment, finding: str) -> NDArray[Any] | None:
        """The array of the label on the grid of the image, or None if the policy does not allow it."""
        array = numpy_array(label)
        if self.policy == "copy_from_image":
            if label.shape[1:] != image.shape[1:]:
                raise ValueError(
                    f"{finding}: label {tuple(label.shape[1:])}, image {tuple(image.shape[1:])}; "
                    "policy 'copy_from_image' needs equal shapes"
                )
            return array
        if self.policy == "raise" or (self.policy == "reorder" and found.kind != "reordered"):
            return None
        if found.kind == "header_flipped":
            return None
        moved = _by_headers(label, image, found)
        if array.any() and not moved.any():
            raise ValueError(f"{finding}; by its header the whole label lies outside the image, expected an overlap")
        return moved

    def _ask_contents(self, label: MetaTensor, image: MetaTensor, found: Alignment, finding: str) -> None:
        """Raises ValueError if the intensities contradict the policy."""
        if self.prior_hu is None:
            return
        low, high = self.prior_hu
        values = numpy_array(image)[0]
        plausible = (values >= low) & (values <= high)
        array = numpy_array(label)
        by_index = _dice(array[0] > 0, plausible) if array.shape[1:] == plausible.shape else 0.0
        by_header = _dice(_by_headers(label, image, found)[0] > 0, plausible)
        said = f"Dice with voxels of {low:g} to {high:g} HU is {by_index:.3f} by index and {by_header:.3f} by header"
        if self.policy == "raise":
            raise ValueError(f"{finding}; {said}; {_FIX}")
        chosen, other = (by_index, by_header) if self.policy == "copy_from_image" else (by_header, by_index)
        if other > chosen + _CLEARLY:
            raise ValueError(f"{finding}; {said}, which contradicts policy {self.policy!r}; {_FIX}")


def _check_volume(volume: Any, what: str) -> None:
    if not isinstance(volume, MetaTensor):
        raise ValueError(
            f"{what} is a {type(volume).__name__} without an affine, expected a MetaTensor (use LoadImage)"
        )
    if volume.ndim != 4:
        raise ValueError(f"{what} has shape {tuple(volume.shape)}, expected channel-first (C, i, j, k)")
    if volume.pending_operations:
        raise ValueError(
            f"{what} has {len(volume.pending_operations)} lazy transform(s) pending, expected none; "
            "check the alignment right after loading"
        )


def _by_headers(label: MetaTensor, image: MetaTensor, found: Alignment) -> NDArray[Any]:
    """The array of the label on the grid of the image, according to the two affines."""
    from scipy.ndimage import affine_transform

    array = numpy_array(label)
    if found.kind == "reordered":
        return np.stack([found.reordering.apply(channel) for channel in array])
    matrix = np.linalg.inv(affine_of(label)) @ affine_of(image)  # image voxel to label voxel
    shape = tuple(image.shape[1:])
    return np.stack([affine_transform(c, matrix, output_shape=shape, order=0, mode="constant") for c in array])


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 0.0


def _with_affine_of(image: MetaTensor, label: MetaTensor, array: NDArray[Any]) -> MetaTensor:
    values = torch.from_numpy(np.ascontiguousarray(array)).to(label.device, label.dtype)
    result: MetaTensor = MetaTensor(values).copy_meta_from(label)
    result.affine = torch.as_tensor(affine_of(image))
    return result


@checked_arguments
class CheckAlignmentd(MapTransform):
    """Dictionary form of :class:`CheckAlignment`: use it right after loading, before transforms
    that use the headers.

    Args:
        keys: the label maps to check.
        image_key: item of the image that they belong to.
        policy: see :class:`CheckAlignment`.
        tolerance_mm: see :class:`CheckAlignment`.
        prior_hu: see :class:`CheckAlignment`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> from monai.data import MetaTensor
        >>> image = MetaTensor(torch.zeros(1, 4, 4, 4), affine=torch.eye(4))
        >>> sample = {"image": image, "label": image.clone()}
        >>> CheckAlignmentd("label", "image")(sample)["label"].shape
        torch.Size([1, 4, 4, 4])
    """

    backend = CheckAlignment.backend

    def __init__(
        self,
        keys: KeysCollection,
        image_key: Hashable = "image",
        policy: AlignmentPolicy = "raise",
        tolerance_mm: float = SAME_GRID_MM,
        prior_hu: Sequence[float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.check = CheckAlignment(policy, tolerance_mm, prior_hu)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which the label of every key is on the grid of the image."""
        result = dict(data)
        for key in self.key_iterator(result):
            if self.image_key not in result:
                raise KeyError(f"no item {self.image_key!r} to compare with; found {sorted(map(str, result))}")
            result[key] = self.check(result[key], result[self.image_key])
        return result
