"""Check the header of a NIfTI file before it is loaded."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from medseg.io.bounded.errors import DataError
from medseg.io.bounded.limits import check_sides
from medseg.io.bounded.remedies import fit_remedies
from medseg.io.volumes.nifti_header import geometry_warnings, read_nifti_header

__all__ = ["CheckHeader", "CheckHeaderd"]

_LOG = logging.getLogger(__name__)

ON_DOUBT = ("warn", "refuse", "ignore")


class CheckHeader(Transform):
    """Refuse a NIfTI file whose header does not say where its voxels lie; the path itself is passed on.

    NiBabel opens a file without an orientation (sform and qform codes both 0), with a negative spacing or in other
    units than millimetres, and gives it some affine; a mask on that grid may lie on the wrong side of the patient. This
    check stands before ``LoadImage`` and refuses what ``medseg segment`` refuses, in the same words: such headers,
    images that are not 3-D or have a single slice, types that are not one real number per voxel, and sizes that the
    file cannot hold. `CheckFinite` looks for voxels that are not finite.

    Args:
        on_doubt: what is done with statements that contradict each other (sform and qform or pixdim): "warn" logs one
            line for each file, "refuse" raises an error, "ignore" does not look.

    Raises:
        ValueError: for another word.

    Example:
        >>> import nibabel as nib
        >>> image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
        >>> nib.save(image, "good.nii")
        >>> CheckHeader()("good.nii")
        'good.nii'
        >>> image.set_sform(None, code=0)
        >>> image.set_qform(None, code=0)
        >>> nib.save(image, "odd.nii")
        >>> CheckHeader()("odd.nii")
        Traceback (most recent call last):
            ...
        medseg.io.bounded.errors.DataError: odd.nii: sform and qform codes are both 0, so the orientation is unknown...
    """

    def __init__(self, on_doubt: str = "warn") -> None:
        if on_doubt not in ON_DOUBT:
            raise ValueError(f"on_doubt is {on_doubt!r}; expected one of {', '.join(ON_DOUBT)}")
        self.on_doubt = on_doubt
        self._said: set[str] = set()

    def __call__(self, filename: Any) -> Any:
        """Return what was given.

        Args:
            filename: path of a NIfTI file, or several.

        Raises:
            DataError: one line with the file, the value found and expected, and what helps.
        """
        several = isinstance(filename, Iterable) and not isinstance(filename, str | os.PathLike)
        for path in filename if several else [filename]:
            self._check(Path(path))
        return filename

    def _check(self, path: Path) -> None:
        try:
            found = read_nifti_header(path)
        except DataError as error:
            # The options that the line names belong to another command than a bundle's.
            raise DataError(fit_remedies(str(error), ())) from error
        check_sides(path, found.shape)
        if self.on_doubt == "ignore":
            return
        for doubt in geometry_warnings(found.header, found.shape, found.affine_ras):
            self._say(f"{path}: {fit_remedies(doubt, ())}")

    def _say(self, line: str) -> None:
        if self.on_doubt == "refuse":
            raise DataError(line)
        # A file that is read in every epoch is named once.
        if line not in self._said:
            self._said.add(line)
            _LOG.warning("%s", line)


class CheckHeaderd(MapTransform):
    """Dictionary form of :class:`CheckHeader`.

    Args:
        keys: the paths.
        on_doubt: see :class:`CheckHeader`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> CheckHeaderd("image")({"image": "gone.nii.gz"})
        Traceback (most recent call last):
            ...
        medseg.io.bounded.errors.DataError: gone.nii.gz: no such file; expected a NIfTI image (.nii or .nii.gz)
    """

    def __init__(self, keys: KeysCollection, on_doubt: str = "warn", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.check = CheckHeader(on_doubt)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` whose paths were checked."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.check(result[key])
        return result
