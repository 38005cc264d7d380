"""What is wrong with one image and its label: geometry in mm at the corners, values, and what the contents say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data_prep._check.pairs import Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medseg.io.ct.rescale import Rescale
    from medseg.io.volumes.assumptions import ImageAssumptions
    from medseg.io.volumes.image import Image

__all__ = ["CLEARLY", "FIXES", "CaseReport", "Problem", "Stated", "check_case", "load", "on_image_grid"]

FIXES = {
    "header-from-image": "the arrays belong together index by index: give the label the image's geometry",
    "reorder-label": "the headers are right: permute and flip the label's axes, no voxel is changed",
    "resample-label": "the headers are right: take the nearest label voxel at every image voxel, 0 outside",
    "round-label": "label values within 0.001 of whole numbers are these numbers (they were interpolated or scaled)",
    "exclude": "leave the case out",
}
"""What ``--fix`` can do, in words."""

CLEARLY = 0.05
"""Difference of the plausible shares from which the contents speak for one side."""

_OFFERED = {
    "reordered": ("reorder-label", "exclude"),
    "other_extent": ("resample-label", "exclude"),
    "header_flipped": ("header-from-image", "exclude"),
    "misregistered": ("header-from-image", "resample-label", "exclude"),
}


@dataclass(frozen=True)
class Problem:
    """One finding that a person must decide about.

    Attributes:
        kind: a word for programs: the class of a geometric difference, or unreadable, not_finite, label_values,
            unknown_labels, missing_label, unmatched, duplicate, leakage.
        text: a sentence for people.
        fixes: values of ``--fix`` that would settle it.
    """

    kind: str
    text: str
    fixes: tuple[str, ...] = ("exclude",)


@dataclass
class CaseReport:
    """All that was found about a case; ``asdict`` is its entry in integrity.json.

    Attributes:
        name: the case.
        lists: where it is listed.
        grid: same, rounding, reordered, other_extent, header_flipped, misregistered; None without a readable pair.
        corner_displacement_mm: largest distance of corner voxels of equal index; None if the shapes differ.
        shapes: of image and label.
        label_voxels: voxels of every label value but 0.
        problems: what must be decided.
        notes: what is odd and harmless.
        evidence: what the intensities under the label say; None where nobody asked or nothing contradicts.
        image_sha256: digest of shape and voxels.
        fix: what was done, with its numbers; None if nothing was.
    """

    name: str
    lists: tuple[str, ...]
    grid: str | None = None
    corner_displacement_mm: float | None = None
    shapes: dict[str, list[int]] = field(default_factory=dict)
    label_voxels: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    evidence: dict[str, Any] | None = None
    image_sha256: str | None = None
    fix: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry in integrity.json."""
        return asdict(self)


class Stated(NamedTuple):
    """What the user states where headers leave it open.

    Attributes:
        image: about image files.
        rescale: about slices of a CT series; None for nothing.
    """

    image: ImageAssumptions
    rescale: Rescale | None

    def record(self) -> dict[str, Any]:
        """The statements as JSON values."""
        rescale = None if self.rescale is None else self.rescale._asdict()
        return {**asdict(self.image), "rescale": rescale}

    def is_empty(self) -> bool:
        """True if nothing is stated."""
        return not any(self.record().values())


def load(path: Path, stated: Stated | None = None) -> Image:
    """An image file, or a folder with one DICOM CT series.

    Args:
        path: file or folder.
        stated: what the user states where the header leaves it open.

    Raises:
        DataError: one line, if it cannot be read.
    """
    from medseg.io.volumes.image import Image, ImageInfo, read_image

    if not path.is_dir():
        return read_image(path) if stated is None else read_image(path, assume=stated.image)
    from medseg.io.ct.series import read_series

    series = read_series(path, assume_rescale=None if stated is None else stated.rescale)
    shape = series.array.shape
    info = ImageInfo(path, "dicom", shape, series.array.dtype, series.affine_ras, series.warnings, None)
    return Image(series.array, series.affine_ras, info)


def check_case(
    pair: Pair,
    labels: Mapping[int, str] | None,
    prior_hu: tuple[float, float] | None,
    tolerance_mm: float,
    stated: Stated | None = None,
) -> tuple[CaseReport, Image | None, Image | None]:
    """Check one case.

    Args:
        pair: where its files are.
        labels: allowed label values; None allows every whole number from 0.
        prior_hu: intensities that the labelled structure plausibly has; asked only where the grids differ.
        tolerance_mm: largest displacement of a corner that counts as rounding.
        stated: what the user states where headers leave it open.

    Returns:
        The report, image and label; None for what could not be read.
    """
    report = CaseReport(pair.name, pair.lists)
    label = None if pair.label is None else _readable(pair.label, "label", report, stated)
    image = _readable(pair.image, "image", report, stated)
    if image is not None:
        _check_image(image, report)
    if label is not None:
        _check_values(label.array, labels, report)
    if pair.label is None and pair.lists != ("test",):
        text = "the list names no label for this case; add it, or move the case to the list 'test'"
        report.problems.append(Problem("missing_label", text))
    if image is not None and label is not None:
        _check_grid(image, label, prior_hu, tolerance_mm, report)
    return report, image, label


def _readable(path: Path, what: str, report: CaseReport, stated: Stated | None) -> Image | None:
    from medseg.io.bounded.errors import os_reason

    try:
        found = load(path, stated)
    except (ValueError, OSError) as error:  # DataError is a ValueError
        text = os_reason(error) if isinstance(error, OSError) else " ".join(str(error).split())
        report.problems.append(Problem("unreadable", f"{what}: {text.removeprefix(f'{path}: ')}"))
        return None
    report.shapes[what] = list(found.array.shape)
    report.notes.extend(f"{what}: {line}" for line in found.info.warnings)
    return found


def _check_image(image: Image, report: CaseReport) -> None:
    from medseg.io.ct.sidecar import voxel_sha256
    from medseg.io.volumes.finite import AIR_HU, find_nonfinite
    from medseg.io.volumes.hounsfield import hu_verdict

    report.image_sha256 = voxel_sha256(image.array)
    wrong = find_nonfinite(image.array)
    if wrong is not None:
        fill = f"data_prep.dataset --on-nonfinite fill sets them to {AIR_HU:g}"
        report.problems.append(Problem("not_finite", f"image: {wrong.describe()}; {fill}"))
    doubt = hu_verdict(image.array).doubt()
    if doubt:
        report.notes.append(f"image: {doubt}")


def _check_values(array: NDArray[Any], labels: Mapping[int, str] | None, report: CaseReport) -> None:
    import numpy as np

    from medseg.io.volumes.finite import find_nonfinite

    wrong = find_nonfinite(array)
    if wrong is not None:
        report.problems.append(Problem("not_finite", f"label: {wrong.describe()}; mend the file"))
        return
    values, counts = np.unique(array, return_counts=True)
    odd = values[(values != np.rint(values)) | (values < 0)]
    if len(odd):
        report.problems.append(_odd_values(values, odd))
        if "round-label" not in report.problems[-1].fixes:
            return
    found = {int(v): int(counts[np.rint(values) == v].sum()) for v in np.unique(np.rint(values))}
    report.label_voxels = {str(v): n for v, n in found.items() if v != 0}
    if array.dtype.kind == "f" and not len(odd):
        report.notes.append(f"label: stored as {array.dtype}, though its values are whole")
    if not report.label_voxels:
        report.notes.append("label: empty")
    unknown = [] if labels is None else sorted(v for v in found if v not in labels and v != 0)
    if unknown:
        allowed = ", ".join(map(str, sorted(labels or ())))
        shown = ", ".join(map(str, unknown[:8])) + (" ..." if len(unknown) > 8 else "")
        text = f"label: values {shown} are not in the list ({allowed}); name them there, or give new values with"
        report.problems.append(Problem("unknown_labels", f"{text} data_prep.dataset --map OLD=NEW"))


def _odd_values(values: NDArray[Any], odd: NDArray[Any]) -> Problem:
    """Values that are no labels: nearly whole ones can be rounded, for others the label must be made again."""
    from medseg.io.volumes.mending import LABEL_ROUNDING, is_nearly_whole

    shown = ", ".join(f"{value:.6g}" for value in odd[:3])
    text = f"label: {len(odd)} values are no whole numbers from 0 (e.g. {shown})"
    if is_nearly_whole(values):
        return Problem("label_values", f"{text}, all within {LABEL_ROUNDING:g} of one", ("round-label", "exclude"))
    return Problem("label_values", f"{text}; was it interpolated? make it again with the nearest neighbour")


def _check_grid(
    image: Image, label: Image, prior_hu: tuple[float, float] | None, tolerance_mm: float, report: CaseReport
) -> None:
    import numpy as np

    from medseg.geometry import compare_grids
    from medseg.geometry.extent import lattice_shift

    where = (label.affine_ras, label.array.shape, image.affine_ras, image.array.shape)
    found = compare_grids(*where, tolerance_mm=tolerance_mm)
    finite = bool(np.isfinite(found.displacement_mm))
    report.corner_displacement_mm = round(float(found.displacement_mm), 6) if finite else None
    report.grid, text = found.kind, found.describe()
    if found.kind == "same":
        report.grid = "same" if found.displacement_mm == 0 else "rounding"
        return
    shift = lattice_shift(label.affine_ras, label.array.shape, image.affine_ras, tolerance_mm)
    if found.kind == "misregistered" and shift is not None:
        report.grid = "other_extent"
        text = f"the label lies on the image's lattice with another extent: it begins at image voxel {shift}"
    if not finite:
        text += f" (image {_by(image.array.shape)}, label {_by(label.array.shape)})"
    if prior_hu is not None:
        report.evidence = _evidence(image, label, prior_hu)
        text += f"; {report.evidence['text']}"
    report.problems.insert(0, Problem(report.grid, text, _OFFERED[report.grid]))


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _evidence(image: Image, label: Image, prior_hu: tuple[float, float]) -> dict[str, Any]:
    """Share of the label's voxels with plausible intensity, index by index and by the headers."""
    low, high = prior_hu

    def share(mask: NDArray[np.bool_]) -> float | None:
        values = image.array[mask]
        return round(float(((values >= low) & (values <= high)).mean()), 4) if values.size else None

    by_index = share(label.array != 0) if label.array.shape == image.array.shape else None
    by_header = share(on_image_grid(label, image) != 0)
    speaks_for = None
    if by_index is not None and by_header is not None and abs(by_index - by_header) > CLEARLY:
        speaks_for = "index" if by_index > by_header else "header"
    shares = ((by_index, "index by index"), (by_header, "by the headers"))
    parts = [f"{100 * share:.0f} % {how}" for share, how in shares if share is not None]
    text = f"within {low:g} to {high:g} HU lie of the label's voxels {' and '.join(parts) or 'none that can be placed'}"
    verdict = {"index": ", which speaks for the arrays", "header": ", which speaks for the headers", None: ""}[
        speaks_for
    ]
    return {
        "prior_hu": [low, high],
        "plausible_by_index": by_index,
        "plausible_by_header": by_header,
        "speaks_for": speaks_for,
        "text": text + verdict,
    }


def on_image_grid(label: Image, image: Image) -> NDArray[Any]:
    """The label's array at every voxel of the image as the two affines say: nearest voxel, 0 outside."""
    import numpy as np
    from scipy.ndimage import affine_transform

    matrix = np.linalg.inv(label.affine_ras) @ image.affine_ras  # image voxel to label voxel
    moved: NDArray[Any] = affine_transform(label.array, matrix, output_shape=image.array.shape, order=0)
    return moved
