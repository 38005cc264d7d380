"""One LiTS case: image and label on one checked grid, with a record of all changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.datasets.lits.body import check_body
from medseg.datasets.lits.cases import LitsCase
from medseg.datasets.lits.evidence import LIVER_HU
from medseg.datasets.lits.geometry import LIVER_LITRES, GridRepair, check_repaired_liver, repair_grid
from medseg.datasets.lits.issues import known_issues, table_version
from medseg.datasets.lits.label import PlacedLabel, place_label
from medseg.datasets.lits.tumours import TUMOUR, TumourCount, count_tumours
from medseg.geometry import Affine, orientation_codes, spacing_of, voxel_volume_ml
from medseg.geometry.regrid import closest_ras
from medseg.io.bounded.checksum import sha256_of
from medseg.io.bounded.errors import DataError, UnreadableFileError
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions
from medseg.io.volumes.finite import settle_nonfinite
from medseg.io.volumes.mending import value_fix
from medseg.io.volumes.nifti import NiftiVolume, read_nifti

__all__ = ["PreparedCase", "prepare_case"]

_VALUES = (0, 1, 2)


class PreparedCase(NamedTuple):
    """A case that is safe to use.

    Attributes:
        name: ``volume-N`` or ``test-volume-N``.
        image: HU ``[i, j, k]``; whole numbers within int16 are int16.
        label: uint8, 0 background, 1 liver, 2 tumour; None for a test case.
        affine_ras: 4 x 4 of both, voxel to RAS mm.
        record: where it came from, what was changed and why, what was measured; plain JSON values.

    >>> from pathlib import Path
    >>> from medseg.datasets.lits import find_cases
    >>> from medseg.io.volumes.nifti import write_nifti
    >>> image = np.full((60, 50, 40), -1000, np.int16)
    >>> image[10:50, 10:40] = 60
    >>> label = np.zeros(image.shape, np.uint8)
    >>> label[30:45, 15:35, 10:30] = 1
    >>> affine = np.diag([6.0, 6.0, 6.0, 1.0])
    >>> for name, array in (("volume-0.nii", image), ("segmentation-0.nii", label)):
    ...     _ = write_nifti(name, array, affine)
    >>> case = prepare_case(find_cases(".")[0])
    >>> case.name, case.label.shape
    ('volume-0', (60, 50, 40))
    """

    name: str
    image: NDArray[Any]
    label: NDArray[np.uint8] | None
    affine_ras: Affine
    record: dict[str, Any]

    @property
    def warnings(self) -> list[str]:
        """What a person should look at, one line each."""
        return list(self.record["warnings"])


def prepare_case(
    case: LitsCase,
    accept_unverified: bool = False,
    minimum_tumour_ml: float = 0.05,
    assume: ImageAssumptions = NO_ASSUMPTIONS,
) -> PreparedCase:
    """Read a case, repair what the table of known faults covers, and check the rest.

    Args:
        case: the files, from :func:`find_cases`.
        accept_unverified: whether spacings that were not checked against a source file may be applied.
        minimum_tumour_ml: least volume of the tumours that are also counted separately.
        assume: what the user states where a header leaves the geometry open.

    Raises:
        DataError: one line if a file cannot be read, the grid is a placeholder, the label's position is uncertain, the
            liver has an impossible size after a repair, or the label holds another value than 0, 1 and 2.

    >>> from pathlib import Path
    >>> from medseg.datasets.lits import find_cases
    >>> from medseg.io.volumes.nifti import write_nifti
    >>> image = np.full((60, 50, 40), -1000, np.int16)
    >>> image[10:50, 10:40] = 60
    >>> label = np.zeros(image.shape, np.uint8)
    >>> label[30:45, 15:35, 10:30] = 1
    >>> affine = np.diag([6.0, 6.0, 6.0, 1.0])
    >>> for name, array in (("volume-0.nii", image), ("segmentation-0.nii", label)):
    ...     _ = write_nifti(name, array, affine)
    >>> case = prepare_case(find_cases(".")[0])
    >>> case.record["liver_litres"], case.record["changes"]
    (1.296, [])
    """
    source = _read(case.image, assume)
    repair = repair_grid(case.name, source.affine_ras, source.array.shape[2], accept_unverified)
    image = _hounsfield(source.array, case.image)
    placed = None if case.label is None else _place(case, image, source, assume)
    label = None if placed is None else _labels(placed.array, case.label)
    if label is not None and any(change["rule"] == "set_spacing" for change in repair.changes):
        check_repaired_liver(case.name, _litres(label, repair.affine_ras))
    order = closest_ras(repair.affine_ras, image.shape)
    affine, note = repair.affine_ras, None
    if order.axes != (0, 1, 2):
        affine, note = order.affine(affine, image.shape), order.describe()
        image = np.ascontiguousarray(order.apply(image))
        label = None if label is None else np.ascontiguousarray(order.apply(label))
    record = _source_record(case, source, repair, placed)
    if note is not None:
        record["reordering"] = {"axes": list(order.axes), "flips": list(order.flips)}
        record["changes"].append(_reorder_change(repair.affine_ras))
        record["warnings"].append(
            f"{case.name}: slices are not stacked along the body; re-ordered to R, A, S ({note}), no point moves; "
            "take results back with data_prep.lits_restore"
        )
    record |= _grid_record(image, affine)
    _add_checks(record, case, image, label, affine, minimum_tumour_ml)
    return PreparedCase(case.name, image, label, affine, record)


def _read(path: Path, assume: ImageAssumptions) -> NiftiVolume:
    try:
        return read_nifti(path, assume=assume)
    except DataError:
        raise
    except ValueError as error:
        raise UnreadableFileError(str(error)) from error


def _place(case: LitsCase, image: NDArray[Any], source: NiftiVolume, assume: ImageAssumptions) -> PlacedLabel:
    assert case.label is not None
    label = _read(case.label, assume)
    settle_nonfinite(label.array, case.label)
    placed = place_label(
        case.name,
        image,
        source.affine_ras,
        label.array,
        label.affine_ras,
        known_issues(case.name).get("label_header"),
    )
    placed.record["squeezed_from"] = _squeezed(label)
    own = tuple(f"{case.name}: label: {line}" for line in label.warnings)
    return placed._replace(warnings=(*own, *placed.warnings))


def _hounsfield(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """The values as int16 where that loses nothing."""
    if array.dtype == np.int16:
        return array
    settle_nonfinite(array, path)
    low, high = float(array.min()), float(array.max())
    if low < -32768 or high > 32767:
        raise DataError(f"{path}: values run from {low:g} to {high:g}, expected HU within int16; the file is not a CT")
    whole = array.astype(np.int16)
    return whole if np.array_equal(whole, array) else array


def _labels(array: NDArray[Any], path: Path | None) -> NDArray[np.uint8]:
    odd = np.unique(array[~np.isin(array, _VALUES)])  # without sorting all voxels
    if len(odd):
        fix = f"; {value_fix(odd)}" if np.any(odd != np.rint(odd)) else ""
        raise DataError(f"{path}: label values {odd[:3].tolist()} found, expected 0 background, 1 liver, 2 tumour{fix}")
    return np.ascontiguousarray(array.astype(np.uint8))


def _litres(label: NDArray[Any], affine: Affine) -> float:
    return float(np.count_nonzero(label)) * voxel_volume_ml(affine) / 1000.0


def _squeezed(volume: NiftiVolume) -> list[int] | None:
    """The stored shape if it has further axes of length 1."""
    stored = [int(length) for length in volume.header.get_data_shape()]
    return stored if len(stored) > 3 else None


def _source_record(
    case: LitsCase, source: NiftiVolume, repair: GridRepair, placed: PlacedLabel | None
) -> dict[str, Any]:
    return {
        "case": case.name,
        "issues_table_version": table_version(),
        "image_source": {"file": case.image.name, "sha256": sha256_of(case.image)},
        "label_source": None if case.label is None else {"file": case.label.name, "sha256": sha256_of(case.label)},
        "source_shape": list(source.array.shape),
        "source_affine_ras": source.affine_ras.tolist(),
        "squeezed_from": _squeezed(source),
        "label_placement": None if placed is None else placed.record,
        "changes": [*repair.changes, *(placed.changes if placed else ())],
        "reordering": None,
        "warnings": [
            *(f"{case.name}: image: {line}" for line in source.warnings),
            *repair.warnings,
            *(placed.warnings if placed else ()),
        ],
        "notes": [],
    }


def _reorder_change(affine: Affine) -> dict[str, Any]:
    return {
        "issue": "permuted_axes",
        "rule": "reorder_to_ras",
        "found": {"orientation": "".join(orientation_codes(affine))},
        "applied": {"orientation": "RAS"},
        "verified": True,
        "source": "the file's own affine",
        "table_version": table_version(),
    }


def _grid_record(image: NDArray[Any], affine: Affine) -> dict[str, Any]:
    return {
        "shape": list(image.shape),
        "spacing_mm": [round(float(value), 9) for value in spacing_of(affine)],
        "orientation": "".join(orientation_codes(affine)),
        "affine_ras": affine.tolist(),
    }


def _add_checks(
    record: dict[str, Any],
    case: LitsCase,
    image: NDArray[Any],
    label: NDArray[np.uint8] | None,
    affine: Affine,
    minimum_ml: float,
) -> None:
    """Measure liver, tumours and sides. Unexpected facts become warnings of the record, known facts become notes."""
    body = check_body(case.name, image, affine, None if label is None else label > 0)
    record["body"] = {"liver_to_right_mm": body.liver_to_right_mm, "bone_to_back_mm": body.bone_to_back_mm}
    record["warnings"] += body.warnings
    issues = known_issues(case.name)
    if "outlier" in issues:
        record["notes"].append(f"{case.name}: {issues['outlier'].source}; kept as it is")
    if label is None:
        return
    tumours = count_tumours(label, affine, minimum_ml)
    record["liver_litres"] = round(_litres(label, affine), 6)
    record["liver_voxels"] = int(np.count_nonzero(label))
    record["tumour_voxels"] = int(np.count_nonzero(label == TUMOUR))
    record["tumours"] = tumours.to_record()
    record["warnings"] += _liver_warnings(record, case.name, image, label)
    record["warnings"] += _tumour_warnings(record, case.name, tumours)


def _liver_warnings(record: dict[str, Any], name: str, image: NDArray[Any], label: NDArray[np.uint8]) -> list[str]:
    litres, (low, high) = record["liver_litres"], LIVER_LITRES
    lines = []
    if not low <= litres <= high:
        lines.append(f"{name}: liver measures {litres:.2f} litres, expected {low} to {high}; is the spacing right?")
    values = image[label > 0]
    share = float(np.mean((values >= LIVER_HU[0]) & (values <= LIVER_HU[1]))) if len(values) else None
    record["liver_hu_share"] = None if share is None else round(share, 4)
    if share is not None and share < 0.5:
        lines.append(
            f"{name}: only {share:.0%} of the liver has {LIVER_HU[0]:g} to {LIVER_HU[1]:g} HU; check that the label "
            "matches the image (a fatty liver is darker)"
        )
    return lines


def _tumour_warnings(record: dict[str, Any], name: str, tumours: TumourCount) -> list[str]:
    lines: list[str] = []
    known = "no_tumour" in known_issues(name)
    if tumours.number == 0:
        line = f"{name}: holds no tumour" + (", as the table of known facts says" if known else "")
        (record["notes"] if known else lines).append(line)
    elif known:
        lines.append(f"{name}: {tumours.number} tumours, but the table says none; is this the file that it describes?")
    if tumours.one_voxel_ras_mm:
        record["notes"].append(f"{name}: {len(tumours.one_voxel_ras_mm)} tumour(s) of a single voxel")
    if tumours.off_liver_ras_mm:
        lines.append(
            f"{name}: {len(tumours.off_liver_ras_mm)} of {tumours.number} tumours ({tumours.off_liver_voxels} voxels) "
            f"do not touch the liver, the first at RAS {tumours.off_liver_ras_mm[0]} mm"
        )
    return lines
