"""Read NIfTI files as MONAI does, but whole and with their checksum."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import NibabelReader
from monai.data.utils import correct_nifti_header_if_necessary
from monai.utils import ensure_tuple
from numpy.typing import NDArray

from medseg.io.bounded.errors import DataError
from medseg.io.bounded.remedies import fit_remedies
from medseg.io.volumes.nifti import read_nifti

__all__ = ["CheckedNiftiReader"]


class CheckedNiftiReader(NibabelReader):
    """A reader for ``LoadImage`` that refuses damaged NIfTI files, in the words of ``medseg segment``.

    NiBabel stops reading where the voxels end. So it never comes to the checksum of a compressed file, and takes a file
    with damaged voxels as it is; of a file that is cut off it says so without the remedy, in many lines. This reader
    gives the same array and the same meta data for a good file, and one line for another. It also reads compressed
    files faster. Voxels that are scaled by the header are float32, where NiBabel makes float64.

    Example:
        >>> from pathlib import Path
        >>> import nibabel as nib
        >>> import numpy as np
        >>> from monai.transforms import LoadImage
        >>> nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), "ct.nii.gz")
        >>> from medseg.io import CheckedNiftiReader
        >>> load = LoadImage(reader=CheckedNiftiReader(), dtype=None)
        >>> load("ct.nii.gz").shape
        torch.Size([4, 5, 6])
        >>> content = Path("ct.nii.gz").read_bytes()
        >>> _ = Path("ct.nii.gz").write_bytes(content[:-9])
        >>> load("ct.nii.gz")
        Traceback (most recent call last):
            ...
        medseg.io.bounded.errors.DataError: ct.nii.gz: voxel data cannot be read (...); the file may be cut off
    """

    def __init__(self) -> None:
        super().__init__()

    def read(self, data: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], **kwargs: Any) -> list[Path]:
        """Take the paths; they are read by `get_data`, whose errors ``LoadImage`` passes on as they are.

        Args:
            data: one path or several.
            kwargs: none; options of ``nibabel.load`` have no meaning here.
        """
        self.filenames = ensure_tuple(data)
        return [Path(path) for path in self.filenames]

    def get_data(self, img: Sequence[Path]) -> tuple[NDArray[Any], dict[str, Any]]:
        """Read the files.

        Args:
            img: what `read` returned.

        Returns:
            Voxels ``[i, j, k]`` in the stored type, several files stacked along a first axis, and the meta data, as
            MONAI's reader gives them.

        Raises:
            DataError: one line with the file, what was found and expected, and what helps.
        """
        result: tuple[NDArray[Any], dict[str, Any]] = super().get_data([_image(path) for path in img])
        return result


def _image(path: Path) -> Any:
    import nibabel as nib

    try:
        volume = read_nifti(path)
    except DataError as error:
        # The options that the line names belong to another command than a bundle's.
        raise DataError(fit_remedies(str(error), ())) from error
    header = volume.header.copy()
    header.set_data_dtype(volume.array.dtype)
    header.set_data_shape(volume.array.shape)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    return correct_nifti_header_if_necessary(kind(np.asarray(volume.array), header.get_best_affine(), header=header))
