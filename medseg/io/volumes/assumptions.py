"""What a user states about an image file whose header leaves its geometry open; nothing is assumed without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medseg.geometry import Affine, flip_lps_ras
from medseg.io.bounded.errors import DataError

__all__ = ["NO_ASSUMPTIONS", "SPACING_SOURCES", "ImageAssumptions"]

_SPACES = ("LPS", "RAS")

SPACING_SOURCES = ("sform", "pixdim")
"""What can give the spacing of a NIfTI file."""


@dataclass(frozen=True)
class ImageAssumptions:
    """Statements that take the place of what a header does not say; each that is used stands in the image's warnings.

    Attributes:
        space: "LPS" or "RAS": the frame of a NRRD file without ``space``, and of a NIfTI file whose sform and qform
            codes are both 0. Where the header has no directions either, the axes run along the frame's, from 0 mm on.
        ignore_pixdim_sign: negative spacings in a NIfTI header mean nothing; the sform or the absolute values are used.
        spacing_from: "sform" or "pixdim": which of the two is right where they state different spacings; directions and
            the place of the first voxel are the sform's all the same. None: the sform, with a warning.

    Raises:
        DataError: for another space or source of the spacing.

    Example:
        >>> from medseg.io.volumes.assumptions import ImageAssumptions
        >>> ImageAssumptions(space="LPS").along_axes([0.5, 0.5, 2.0]).diagonal().tolist()
        [-0.5, -0.5, 2.0, 1.0]
    """

    space: str | None = None
    ignore_pixdim_sign: bool = False
    spacing_from: str | None = None

    def __post_init__(self) -> None:
        if self.space not in (None, *_SPACES):
            raise DataError(f"space is {self.space!r}, expected one of {', '.join(_SPACES)}")
        if self.spacing_from not in (None, *SPACING_SOURCES):
            raise DataError(f"spacing_from is {self.spacing_from!r}, expected one of {', '.join(SPACING_SOURCES)}")

    def along_axes(self, spacing_mm: ArrayLike) -> Affine:
        """Affine to RAS mm of an image whose axes run along those of ``space``, its first voxel at 0 mm."""
        affine: Affine = np.diag([*np.asarray(spacing_mm, np.float64), 1.0])
        return flip_lps_ras(affine) + 0.0 if self.space == "LPS" else affine


NO_ASSUMPTIONS = ImageAssumptions()
"""Nothing beside the header counts."""
