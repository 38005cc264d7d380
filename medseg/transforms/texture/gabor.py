"""Gabor filters: the strength of waves of given frequencies and orientations around every voxel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, pad

from medseg._arguments import checked_arguments
from medseg.transforms._checks import check_in_order, whole_number
from medseg.transforms.texture._beside import AddsBeside, as_image, as_mask, spacing_in
from medseg.transforms.texture._glcm_settings import Unit
from medseg.transforms.texture._slices import from_slices, to_slices

__all__ = ["Gabor", "GaborOutput", "Gabord"]

_MOST_ORIENTATIONS, _MOST_REACH = 1000, 4096
GaborOutput = Literal["magnitude", "real", "imag"]


@checked_arguments
class Gabor(Transform):
    """Responses to scikit-image's ``gabor_kernel`` with an isotropic Gaussian; a volume is filtered slice by slice.

    A kernel is a plane wave times a Gaussian. It is separable and is applied as two 1-D convolutions. Beyond the border
    of the image the nearest voxel is used, as in ``skimage.filters.gabor(mode="nearest")``. Voxels outside of the mask
    are replaced by the nearest voxel of the mask in the slice, so that the border of the mask is not an edge; the maps
    are 0 there. Voxels that are not finite are treated as outside of the mask. Differentiable with respect to the
    image.

    A voxel that is not finite changes the maps within the reach of the filters (three sigmas) around it only.

    Args:
        frequencies: cycles per unit, each at most half a cycle per voxel.
        orientations: number of directions, evenly distributed over 180 degrees from 0, or the directions in degrees.
            At 0 the wave runs along the last axis of the slice, at 90 along the first, as in scikit-image.
        unit: unit of the frequencies, cycles per "voxel" or per "mm"; "mm" uses the spacing in the affine of the image,
            which must be the same along both axes of the slice.
        outputs: outputs of every filter, from "magnitude", "real" and "imag", in the order of the channels.
        bandwidth: bandwidth of the filters in octaves, 0.01 to 100; for 1, the sigma is 0.56 wavelengths.
        slice_axis: for a volume, the spatial axis (0 is the first after the channel) perpendicular to the slices; None
            for an image with two spatial axes.

    Raises:
        ValueError: for an invalid value.

    Example:
        >>> image = np.tile(np.sin(2 * np.pi * 0.2 * np.arange(64)), (1, 64, 1))
        >>> gabor = Gabor(frequencies=(0.2,), orientations=2)
        >>> gabor.channel_names
        ('magnitude 0.2 cycles/voxel 0 deg', 'magnitude 0.2 cycles/voxel 90 deg')
        >>> [round(v, 2) for v in gabor(image)[:, 32, 32].tolist()]
        [0.5, 0.0]
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        frequencies: Sequence[float] = (0.1, 0.2, 0.4),
        orientations: int | Sequence[float] = 4,
        unit: Unit = "voxel",
        outputs: Sequence[GaborOutput] = ("magnitude",),
        bandwidth: float = 1.0,
        slice_axis: int | None = None,
    ) -> None:
        for name, values in (("frequencies", frequencies), ("outputs", outputs)):
            check_in_order(name, values)
        if not len(frequencies) or not all(math.isfinite(f) and f > 0 for f in frequencies):
            raise ValueError(f"frequencies is {tuple(frequencies)}, expected at least one number above 0")
        if unit not in ("voxel", "mm"):
            raise ValueError(f"unit is {unit!r}, expected 'voxel' or 'mm'")
        if isinstance(outputs, str) or not outputs or not set(outputs) <= set(get_args(GaborOutput)):
            raise ValueError(f"outputs is {outputs!r}, expected a list of {', '.join(get_args(GaborOutput))}")
        if not 0.01 <= bandwidth <= 100:
            raise ValueError(f"bandwidth is {bandwidth}, expected a number of octaves above 0, from 0.01 to 100")
        self.frequencies, self.angles = tuple(float(f) for f in frequencies), _angles(orientations)
        self.unit, self.outputs, self.bandwidth = unit, tuple(outputs), float(bandwidth)
        self.slice_axis = None if slice_axis is None else whole_number("slice_axis", slice_axis)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels of the result for one channel of the image."""
        return tuple(
            f"{output} {f:g} cycles/{self.unit} {a:g} deg"
            for f in self.frequencies
            for a in self.angles
            for output in self.outputs
        )

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Return the maps ``(C * frequencies * orientations * outputs, *spatial)``.

        The order is by channel, then frequency, orientation and output; see ``channel_names``.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes; it is not modified.
            mask: mask of the voxels to use, ``(1, *spatial)`` or ``(C, *spatial)``; None for all.

        Raises:
            ValueError: for shapes or a slice axis that do not match, a frequency above half a cycle per voxel or so low
                that the filter reaches more than 4096 voxels, or
                ``unit="mm"`` and an image without an affine or with voxels that are not square in the slice.
        """
        tracked, image = as_image(img)
        inside = as_mask(mask, image)
        valid = image.isfinite() if inside is None else image.isfinite() & inside
        slices, counted = to_slices(image, self.slice_axis), to_slices(valid, self.slice_axis)
        side = self._side(img)
        filled = _fill_nearest(slices, counted)
        # Channels and slices form the batch; every filter gives two maps for each of them.
        waves = [self._apply(filled, f, a, side) for f in self.frequencies for a in self.angles]
        maps = torch.stack([part for wave in waves for part in self._parts(wave)], dim=1)
        maps = torch.where(counted[:, None], maps, 0.0).flatten(0, 1)
        return convert_to_dst_type(from_slices(maps, self.slice_axis), tracked, dtype=image.dtype)[0]

    def _side(self, img: NdarrayOrTensor) -> float:
        """Size of a voxel in the slice, in the unit of the frequencies."""
        sides = spacing_in(self.unit, img, img.ndim - 1)
        if self.slice_axis is not None:
            del sides[self.slice_axis]
        if abs(sides[0] - sides[1]) > 1e-3 * sides[0]:
            raise ValueError(
                f"voxels have sides of {sides[0]:.4g} and {sides[1]:.4g} mm in the slice, expected equal ones for unit "
                "'mm'; resample with Spacing first"
            )
        highest = max(self.frequencies)
        if highest * sides[0] > 0.5:
            raise ValueError(
                f"frequency is {highest:g} cycles/{self.unit}, expected at most {0.5 / sides[0]:.4g}: "
                "half a cycle a voxel"
            )
        reach = _reach(min(self.frequencies) * sides[0], self.bandwidth)
        if reach > _MOST_REACH:
            raise ValueError(
                f"frequency is {min(self.frequencies):g} cycles/{self.unit} with {self.bandwidth:g} octaves, whose "
                f"filter reaches {reach:.3g} voxels, expected at most {_MOST_REACH}: use a higher frequency"
            )
        return sides[0]

    def _apply(self, slices: Tensor, frequency: float, angle: float, side: float) -> Tensor:
        """The complex response ``[2, C, N, H, W]``: real part, imaginary part."""
        first, last = _kernel_vectors(frequency * side, angle, self.bandwidth)
        rows, columns = len(first) // 2, len(last) // 2
        flat = slices.flatten(0, 1)[:, None]
        along_last = torch.from_numpy(np.stack([last.real, last.imag])[:, None, None]).to(flat)
        half = conv2d(pad(flat, (columns, columns, 0, 0), mode="replicate"), along_last)
        product = np.stack([np.stack([first.real, -first.imag]), np.stack([first.imag, first.real])])
        along_first = torch.from_numpy(product[..., None]).to(flat)
        found = conv2d(pad(half, (0, 0, rows, rows), mode="replicate"), along_first)
        return found.movedim(1, 0).unflatten(1, slices.shape[:2])

    def _parts(self, wave: Tensor) -> list[Tensor]:
        # In torch, the absolute value of a complex number has gradient 0 at 0; a square root of squares has NaN.
        found = {"real": wave[0], "imag": wave[1]}
        if "magnitude" in self.outputs:
            found["magnitude"] = torch.complex(wave[0], wave[1]).abs()
        return [found[name] for name in self.outputs]


@checked_arguments
class Gabord(AddsBeside):
    """Dictionary form of :class:`Gabor`: the maps of ``key`` become ``key + postfix``.

    Args:
        keys: the images; they do not change.
        frequencies: see :class:`Gabor`.
        orientations: see :class:`Gabor`.
        unit: see :class:`Gabor`.
        outputs: see :class:`Gabor`.
        bandwidth: see :class:`Gabor`.
        slice_axis: see :class:`Gabor`.
        mask_key: item of the mask; None to use all voxels.
        postfix: appended to the key to form the name of the maps.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> Gabord("image", frequencies=(0.2,))({"image": np.zeros((1, 32, 32))})["image_gabor"].shape
        torch.Size([4, 32, 32])
    """

    backend = Gabor.backend

    def __init__(
        self,
        keys: KeysCollection,
        frequencies: Sequence[float] = (0.1, 0.2, 0.4),
        orientations: int | Sequence[float] = 4,
        unit: Unit = "voxel",
        outputs: Sequence[GaborOutput] = ("magnitude",),
        bandwidth: float = 1.0,
        slice_axis: int | None = None,
        mask_key: str | None = None,
        postfix: str = "_gabor",
        allow_missing_keys: bool = False,
    ) -> None:
        transform = Gabor(frequencies, orientations, unit, outputs, bandwidth, slice_axis)
        super().__init__(keys, transform, postfix, mask_key, allow_missing_keys)


def _angles(orientations: int | Sequence[float]) -> tuple[float, ...]:
    if isinstance(orientations, int | float | np.integer):
        number = whole_number("orientations", orientations, most=_MOST_ORIENTATIONS)
        if number < 1:
            raise ValueError(f"orientations is {orientations}, expected at least 1")
        return tuple(180.0 * i / number for i in range(number))
    check_in_order("orientations", orientations)
    if not len(orientations) or not all(math.isfinite(a) for a in orientations):
        raise ValueError(f"orientations is {orientations!r}, expected a number of them, or angles in degrees")
    return tuple(float(a) for a in orientations)


def _reach(frequency: float, bandwidth: float) -> float:
    """Half the size of a kernel in voxels: three sigmas, as scikit-image has it; cycles per voxel and octaves."""
    octaves = 2**bandwidth
    return 3 * math.sqrt(math.log(2) / 2) / math.pi * (octaves + 1) / (octaves - 1) / frequency


def _kernel_vectors(
    frequency: float, angle: float, bandwidth: float
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Vectors along the first and last axis whose outer product is the kernel; mirrored, because torch correlates."""
    from skimage.filters import gabor_kernel

    kernel = gabor_kernel(frequency, math.radians(angle), bandwidth)[::-1, ::-1]
    row, column = (n // 2 for n in kernel.shape)
    return kernel[:, column], kernel[row] / kernel[row, column]


def _fill_nearest(slices: Tensor, valid: Tensor) -> Tensor:
    """The slices with every invalid voxel replaced by the nearest valid one; 0 if no voxel is valid."""
    from scipy.ndimage import distance_transform_edt

    if bool(valid.all()):
        return slices
    filled = torch.where(valid, slices, 0.0)
    counted, planes = valid.cpu().numpy(), []
    for c, n in np.ndindex(counted.shape[:2]):
        plane = filled[c, n]
        if counted[c, n].any() and not counted[c, n].all():
            rows, columns = distance_transform_edt(~counted[c, n], return_distances=False, return_indices=True)
            plane = plane[
                torch.from_numpy(rows).to(plane.device).long(), torch.from_numpy(columns).to(plane.device).long()
            ]
        planes.append(plane)
    return torch.stack(planes).unflatten(0, slices.shape[:2])
