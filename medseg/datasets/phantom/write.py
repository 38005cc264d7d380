"""Write phantoms as case folders: NIfTI or DICOM images, label maps and the truth as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medseg.datasets.phantom.model import Lesion, Phantom, PointMark
from medseg.geometry import flip_lps_ras, spacing_of
from medseg.io.bounded.atomic import write_json
from medseg.io.volumes.nifti import write_nifti

__all__ = ["truth_of", "write_phantom_dicom", "write_phantom_nifti"]

_NOTE = "synthetic phantom, no patient"
_WINDOWS = {"abdomen": (50.0, 400.0), "chest": (-600.0, 1500.0)}


def write_phantom_nifti(phantom: Phantom, out_dir: str | Path, name: str) -> Path:
    """Write ``image``, ``label`` and ``organs`` (``.nii.gz``) and ``truth.json`` into the case folder ``out_dir/name``.

    Returns:
        The case folder.

    >>> from medseg.datasets.phantom import abdomen_phantom
    >>> phantom = abdomen_phantom(seed=7, spacing_mm=(12.0, 12.0, 12.0), n_tumours=1)
    >>> case = write_phantom_nifti(phantom, ".", "abdomen_7")
    >>> sorted(path.name for path in case.iterdir())
    ['image.nii.gz', 'label.nii.gz', 'organs.nii.gz', 'truth.json']
    """
    case = Path(out_dir) / name
    write_nifti(case / "image.nii.gz", phantom.image, phantom.affine_ras, _NOTE)
    _write_truth(phantom, case)
    return case


def write_phantom_dicom(phantom: Phantom, out_dir: str | Path) -> Path:
    """Write a case folder with a CT series, the label maps on the same grid and the truth.

    The folder gets ``dicom/*.dcm``, ``label.nii.gz``, ``organs.nii.gz`` and ``truth.json``; a chest also gets
    ``lidc.xml``, the simulated readers' outlines in the form of the LIDC data set.

    Args:
        phantom: any phantom for an abdomen; a chest must have axial slices, because LIDC outlines are axial.
        out_dir: the case folder.

    Returns:
        The case folder.

    Raises:
        ValueError: if the series folder holds files already, or a chest is not sampled in axial slices.

    >>> from medseg.datasets.phantom import abdomen_phantom
    >>> phantom = abdomen_phantom(seed=7, spacing_mm=(12.0, 12.0, 12.0), n_tumours=1)
    >>> case = write_phantom_dicom(phantom, "abdomen_7")
    >>> len(list((case / "dicom").iterdir())) == phantom.image.shape[2]
    True
    """
    from medseg.datasets.phantom.ct_writer import write_ct_series
    from medseg.datasets.phantom.lidc_xml import check_axial, write_lidc_xml

    case = Path(out_dir)
    chest = phantom.kind == "chest"
    if chest:
        check_axial(phantom)
    padding = int(phantom.image[0, 0].min())
    series = write_ct_series(
        case / "dicom",
        phantom.image,
        phantom.affine_ras,
        patient_id=f"PHANTOM-{phantom.kind.upper()}-{phantom.seed:04d}",
        patient_name=f"PHANTOM^{phantom.kind.upper()}",
        study_description=f"Synthetic {phantom.kind}",
        series_description=f"Synthetic {phantom.kind} CT",
        body_part=phantom.kind.upper(),
        manufacturer="medseg phantom (synthetic)",
        image_comments=_NOTE,
        uid_seed=f"phantom/{phantom.kind}/{phantom.seed}",
        window=_WINDOWS[phantom.kind],
        padding_hu=padding if padding < -1024 else None,
    )
    if chest:
        write_lidc_xml(case / "lidc.xml", phantom, series)
    _write_truth(phantom, case)
    return case


def truth_of(phantom: Phantom) -> dict[str, Any]:
    """The phantom's truth as plain JSON values: positions in mm (RAS and LPS), diameters in mm, volumes in ml."""
    return {
        "synthetic": True,
        "kind": phantom.kind,
        "seed": phantom.seed,
        "shape": list(phantom.image.shape),
        "spacing_mm": [float(step) for step in spacing_of(phantom.affine_ras)],
        "affine_ras": phantom.affine_ras.tolist(),
        "organ_names": {str(value): name for value, name in phantom.organ_names.items()},
        "organ_volumes_ml": phantom.organ_volumes_ml(),
        "lesions": [_lesion_truth(lesion) for lesion in phantom.lesions],
        "points": [_point_truth(point) for point in phantom.points],
    }


def _write_truth(phantom: Phantom, case: Path) -> None:
    write_nifti(case / "label.nii.gz", phantom.label, phantom.affine_ras, _NOTE)
    write_nifti(case / "organs.nii.gz", phantom.organs, phantom.affine_ras, _NOTE)
    write_json(case / "truth.json", truth_of(phantom))


def _lesion_truth(lesion: Lesion) -> dict[str, Any]:
    truth: dict[str, Any] = {
        "centre_ras_mm": list(lesion.centre_ras_mm),
        "centre_lps_mm": list(lesion.centre_lps_mm),
        "diameter_mm": lesion.diameter_mm,
        "volume_ml": lesion.volume_ml,
        "kind": lesion.kind,
        "contrast_hu": lesion.contrast_hu,
    }
    if lesion.ratings:
        truth["attachment"] = lesion.attachment
        truth["ratings"] = dict(lesion.ratings)
        truth["readers"] = [
            {"reader": reader.reader, "voxels": int(reader.mask.sum()), "ratings": dict(reader.ratings)}
            for reader in lesion.readers
        ]
    return truth


def _point_truth(point: PointMark) -> dict[str, Any]:
    return {
        "kind": point.kind,
        "centre_ras_mm": list(point.centre_ras_mm),
        "centre_lps_mm": flip_lps_ras(point.centre_ras_mm).tolist(),
        "readers": list(point.readers),
    }
