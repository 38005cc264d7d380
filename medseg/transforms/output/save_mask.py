"""Write predicted masks on the grid of their source file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from numpy.typing import NDArray

from medseg._arguments import checked_arguments
from medseg.geometry import corner_displacement_mm
from medseg.io.volumes.nifti import write_nifti_like
from medseg.io.volumes.nifti_header import read_nifti_header
from medseg.transforms._arrays import numpy_array

__all__ = ["SaveMask", "SaveMaskd", "case_name"]

_TOLERANCE_MM = 1e-2


def case_name(path: str | Path) -> str:
    """The file's name without ``.nii`` or ``.nii.gz``."""
    name = Path(path).name
    for suffix in (".nii.gz", ".nii"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


@checked_arguments
class SaveMask(Transform):
    """Save a label map as NIfTI with exactly the geometry of the NIfTI file that its image was loaded from.

    Shape, affine, sform and qform codes and units are copied bit for bit from that file. MONAI's ``SaveImage`` does not
    do this: it sets its own codes and, after the inverse of a resampling, writes a rounded affine. Files are written
    atomically: an incomplete file never appears.

    A mask that is not finite is refused.

    Args:
        output_dir: folder for the files; it is created if it does not exist.
        output_name: file name without suffix; ``{case}`` is replaced by the name of the source file.
        overwrite: whether an existing file may be replaced.

    Example:
        >>> import numpy as np
        >>> from monai.transforms import LoadImage
        >>> from medseg.io.volumes.nifti import write_nifti
        >>> _ = write_nifti("case.nii.gz", np.zeros((4, 4, 2), np.int16), np.eye(4))
        >>> image = LoadImage(ensure_channel_first=True)("case.nii.gz")
        >>> save = SaveMask("masks")
        >>> mask = save(image > 0)
        >>> save.target_of("case.nii.gz").as_posix()
        'masks/case_seg.nii.gz'
    """

    def __init__(self, output_dir: str | Path, output_name: str = "{case}_seg", overwrite: bool = False) -> None:
        self.output_dir = Path(output_dir)
        try:
            output_name.format(case="case")
        except (KeyError, IndexError, ValueError):
            raise ValueError(
                f"output_name is {output_name!r}, expected a name with no other field than {{case}}"
            ) from None
        self.output_name = output_name
        self.overwrite = overwrite

    def target_of(self, source: str | Path) -> Path:
        """The file that the mask of ``source`` is written to."""
        return self.output_dir / (self.output_name.format(case=case_name(source)) + ".nii.gz")

    def __call__(self, img: MetaTensor) -> MetaTensor:
        """Write the mask.

        Args:
            img: shape ``(1, i, j, k)``, label values 0 to 255, already on the source grid (``Invertd`` before);
                ``meta["filename_or_obj"]`` names the source file.

        Returns:
            ``img``, unchanged.

        Raises:
            ValueError: if the mask is not on the source file's grid, has no source file, holds other values, or the
                target exists and ``overwrite`` is False.
        """
        source = img.meta.get("filename_or_obj") if isinstance(img, MetaTensor) else None
        if not source or not str(source).lower().endswith((".nii", ".nii.gz")):
            raise ValueError(f"mask was loaded from {source!r}, expected a NIfTI file whose grid can be copied")
        array = numpy_array(img, f"{source}: mask")
        if array.ndim != 4 or array.shape[0] != 1:
            raise ValueError(f"{source}: mask has shape {array.shape}, expected one channel (1, i, j, k)")
        with np.errstate(invalid="ignore"):  # values that do not fit are an error in the next line
            labels = array[0].astype(np.uint8)
        if not np.array_equal(labels, array[0]):
            wrong = array[0][labels != array[0]][0]
            raise ValueError(
                f"{source}: mask holds values other than whole numbers 0 to 255, such as {wrong:g}; apply AsDiscreted "
                "first"
            )
        target = self.target_of(source)
        if target.exists() and not self.overwrite:
            raise ValueError(f"{target}: exists already; remove it, choose another output_dir or set overwrite")
        shift = corner_displacement_mm(img.affine.cpu().numpy().astype(np.float64), _grid_of(img, source), labels.shape)
        if shift > _TOLERANCE_MM:
            raise ValueError(
                f"{source}: mask is {shift:.3f} mm off the file's grid; invert the spatial transforms first"
            )
        write_nifti_like(target, labels, source)
        return img


@checked_arguments
class SaveMaskd(MapTransform):
    """Dictionary form of `SaveMask`; the data are returned unchanged.

    Args:
        keys: items to save, see `SaveMask`.
        output_dir: see `SaveMask`.
        output_name: see `SaveMask`.
        overwrite: see `SaveMask`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> SaveMaskd("pred", "masks", "{case}_liver").target_of("case.nii.gz").as_posix()
        'masks/case_liver.nii.gz'
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        output_name: str = "{case}_seg",
        overwrite: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.saver = SaveMask(output_dir, output_name, overwrite)

    def target_of(self, source: str | Path) -> Path:
        """The file that the mask of ``source`` is written to."""
        return self.saver.target_of(source)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the mask of every key and return the data unchanged."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.saver(result[key])
        return result


def _grid_of(mask: MetaTensor, source: str) -> NDArray[np.float64]:
    """The grid that the image was loaded with; without a record of it, that of the file."""
    original = mask.meta.get("original_affine")
    return np.asarray(read_nifti_header(source).affine_ras if original is None else original, dtype=np.float64)
