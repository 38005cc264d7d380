"""NIfTI images with exact geometry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, corner_displacement_mm, decompose, spacing_of
from medseg.geometry.slice_stack import TILT_TOLERANCE_DEG
from medseg.io.atomic import atomic_path

if TYPE_CHECKING:
    import nibabel as nib

__all__ = ["NiftiVolume", "find_nifti", "read_nifti", "write_nifti", "write_nifti_like"]

# A qform's quaternion is float32: near a half turn it is uncertain by some 7e-4 radians, a third of a millimetre in CT.
_FORMS_DIFFER_MM = 0.5


class NiftiVolume(NamedTuple):
    """A 3-D NIfTI image in memory.

    Attributes:
        array: voxels ``[i, j, k]`` in the file's own order.
        affine_ras: 4 x 4 affine, voxel to RAS mm.
        header: the nibabel header, for writing results on the same grid.
    """

    array: NDArray[Any]
    affine_ras: Affine
    header: nib.Nifti1Header

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the header's geometry but no reason to refuse the file, one line each."""
        return tuple(_odd_geometry(self))


def find_nifti(folder: str | Path) -> list[str]:
    """Paths of the NIfTI files directly in a folder, sorted by name.

    Raises:
        ValueError: one line naming the folder if it is missing or holds no ``.nii`` or ``.nii.gz`` file, so that a
            mistyped folder is not taken for work that is done.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; expected one with NIfTI files (.nii or .nii.gz)")
    found = [path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith((".nii", ".nii.gz"))]
    if not found:
        raise ValueError(f"{folder}: no NIfTI file (.nii or .nii.gz) in this folder; folders below are not searched")
    return sorted(str(path) for path in found)


def read_nifti(path: str | Path) -> NiftiVolume:
    """Read a 3-D NIfTI file; values keep the stored type unless the header scales them (then float32).

    Raises:
        ValueError: one line naming the file if it is missing, unreadable, not 3-D, has no orientation (sform and qform
            codes both 0) or uses units other than millimetres.
    """
    import nibabel as nib

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected a NIfTI image (.nii or .nii.gz)")
    try:
        image = nib.Nifti1Image.from_filename(str(path))
    except Exception as error:
        reason = _one_line(error)
        raise ValueError(f"{path}: not a readable NIfTI image ({reason}); expected .nii or .nii.gz") from error
    header = image.header
    shape = image.shape[:3] + tuple(n for n in image.shape[3:] if n != 1)
    if len(shape) != 3:
        raise ValueError(f"{path}: image has shape {image.shape}, expected three axes; split it into 3-D volumes first")
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise ValueError(f"{path}: sform and qform codes are both 0, so the orientation is unknown; set one of them")
    unit = header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise ValueError(f"{path}: spatial unit is {unit}, expected mm; rewrite the header in millimetres")
    # Not from the header: nibabel clears the scaling there once an image is loaded.
    scaled = image.dataobj.slope != 1 or image.dataobj.inter != 0
    try:
        array = np.asanyarray(image.dataobj)
    except Exception as error:
        reason = _one_line(error)
        raise ValueError(f"{path}: voxel data cannot be read ({reason}); the file may be cut off") from error
    array = array.astype(np.float32, copy=False) if scaled else array
    return NiftiVolume(array.reshape(shape), np.asarray(image.affine, dtype=np.float64), header)


def write_nifti(path: str | Path, array: ArrayLike, affine_ras: ArrayLike, description: str = "") -> Path:
    """Write a 3-D array as NIfTI atomically: sform and qform both set, code 1 (scanner), unit mm.

    Args:
        path: target file, ``.nii`` or ``.nii.gz``.
        array: voxels ``[i, j, k]``; bool is written as uint8, int64 as int32, float64 as float32.
        affine_ras: 4 x 4, voxel to RAS mm.
        description: header text, at most 79 characters.
    """
    import nibabel as nib

    image = nib.Nifti1Image(_storable(array), np.asarray(affine_ras, dtype=np.float64))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode()[:79]
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    return Path(path)


def write_nifti_like(path: str | Path, array: ArrayLike, source: str | Path) -> Path:
    """Write an array on the grid of another NIfTI file: shape, sform, qform, codes and units are copied bit for bit.

    Free text (``descrip``, ``aux_file``, ``db_name``, ``intent_name``) and header extensions are not copied: they can
    name a patient, and they describe another image.

    Raises:
        ValueError: if the array's shape differs from the source's.
    """
    import nibabel as nib

    reference = nib.Nifti1Image.from_filename(str(source))
    data = _storable(array)
    if tuple(data.shape) != tuple(reference.shape[:3]):
        raise ValueError(f"{source}: grid is {reference.shape[:3]}, but the result has shape {tuple(data.shape)}")
    header = reference.header.copy()
    header.set_data_dtype(data.dtype)
    header.set_slope_inter(1.0, 0.0)
    header["cal_min"], header["cal_max"] = 0.0, 0.0
    header.extensions.clear()
    for text in ("descrip", "aux_file", "db_name", "intent_name"):
        header[text] = b""
    # nibabel rewrites sform and qform only if the affine given differs from the header's own: here it never does.
    image = nib.Nifti1Image(data, reference.affine, header=header)
    if corner_displacement_mm(image.affine, reference.affine, data.shape) != 0.0:
        raise ValueError(f"{source}: its geometry could not be copied exactly")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    return Path(path)


def _odd_geometry(volume: NiftiVolume) -> Iterator[str]:
    sform, sform_code = volume.header.get_sform(coded=True)
    qform, qform_code = volume.header.get_qform(coded=True)
    if sform_code and qform_code:
        shift = corner_displacement_mm(sform, qform, volume.array.shape)
        if shift > _FORMS_DIFFER_MM:
            yield (
                f"sform and qform put the corners up to {shift:.3f} mm apart (spacing {_spacing_text(sform)} and "
                f"{_spacing_text(qform)} mm); the sform is used, other programs may use the qform"
            )
    shear = decompose(volume.affine_ras).shear_deg
    if shear > TILT_TOLERANCE_DEG:
        yield (
            f"the axes are {shear:.2f} degrees off perpendicular (a tilted gantry?); programs built on ITK refuse such "
            "files, resample to straight axes for them"
        )


def _spacing_text(affine: ArrayLike) -> str:
    return " x ".join(f"{value:.4g}" for value in spacing_of(affine))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _storable(array: ArrayLike) -> NDArray[Any]:
    data = np.asarray(array)
    if data.ndim != 3:
        raise ValueError(f"expected an array with three axes, got shape {data.shape}")
    narrower = {"bool": np.uint8, "int64": np.int32, "uint64": np.uint32, "float64": np.float32, "float16": np.float32}
    return data.astype(narrower.get(data.dtype.name, data.dtype))
