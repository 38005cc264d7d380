"""The cases in a folder: image files that lie in it, and CT series in DICOM anywhere below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.io.bounded.errors import DataError
from medseg.io.cohort.cases import discover, file_stats, stats_digest
from medseg.io.cohort.tree import digest_of
from medseg.io.volumes.image import image_suffix
from medseg.metrics.evaluation.pairs import shown_names

if TYPE_CHECKING:
    from medseg.io.ct.scan import SeriesEntry

__all__ = ["FolderCase", "find_cases", "image_files", "source_of_case"]

_RAW = (".raw", ".zraw", ".img", ".gz")


class FolderCase(NamedTuple):
    """One case of a folder.

    Attributes:
        name: unique in the folder, and fit for the name of a result folder.
        files: its files.
        fingerprint: digest of their names, sizes and times of change.
        series: for a series in DICOM: what chooses it among its files; None for an image file.
        error: set where nothing can be segmented: the reason.
    """

    name: str
    files: tuple[Path, ...]
    fingerprint: str
    series: str | None = None
    error: str | None = None


def image_files(folder: str | Path) -> list[Path]:
    """The image files that lie in a folder itself, sorted; segmentations (.seg.nrrd) are none.

    >>> image_files("bundles")
    []
    """
    found = sorted(path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    return [path for path in found if _is_image(path)]


def find_cases(folder: str | Path, keep_names: bool = False) -> list[FolderCase]:
    """All cases of a folder, sorted by name; headers of DICOM files are read, and no voxels.

    An image file is called by its name without the ending if that cannot name a patient, otherwise ``case_0007`` by its
    place among the image files. A series is called by its UID, as `data_prep.cohort` does it.

    Args:
        folder: image files (NIfTI, MetaImage, NRRD) that lie in it are cases, those in folders below are not; CT series
            in DICOM are cases wherever they lie.
        keep_names: call every image file by its name.

    Raises:
        IntegrityError: if there is no case.
        ConfigurationError: if two cases have the same name.
    """
    folder = Path(folder)
    images = image_files(folder)
    stems = [path.name[: -len(image_suffix(path))] for path in images]
    if len({stem.lower() for stem in stems}) < len(stems):
        first, second = _same_name(images, stems)
        raise ConfigurationError(f"{folder}: {first} and {second} differ in their endings alone; rename one of them")
    names = stems if keep_names else shown_names(stems)
    cases = [_image_case(name, path) for name, path in zip(names, images, strict=True)]
    top = {path.name for path in images}
    stats = {name: facts for name, facts in file_stats(folder).items() if name not in top}
    try:
        found = discover(folder, stats).cases
    except DataError:
        raise
    except ValueError as error:
        raise IntegrityError(str(error)) from error
    for case in found:
        files = tuple(folder / name for name in case.files)
        mark = digest_of([case.series, stats_digest(stats, case.files)])
        cases.append(FolderCase(case.name, files, mark, case.series if case.choose else "", case.error))
    if not cases:
        raise IntegrityError(
            f"{folder}: no case in this folder; expected image files (.nii, .nii.gz, .mha, .mhd, .nrrd, .nhdr) in it, "
            "or CT series in DICOM below it"
        )
    return sorted(_with_different_names(folder, cases), key=lambda case: case.name)


def source_of_case(case: FolderCase) -> Path | SeriesEntry:
    """What `medseg.inference.segment` takes for a case.

    Raises:
        ValueError: in the words of the reader, if the series cannot be chosen.
    """
    if case.series is None:
        return case.files[0]
    from medseg.io.ct.scan import choose_series, list_series

    listing = list_series(case.files[0].parent, case.files)
    return choose_series(listing, case.series or None)


def _is_image(path: Path) -> bool:
    try:
        return image_suffix(path) != ".seg.nrrd"
    except DataError:
        return False


def _same_name(images: Sequence[Path], stems: Sequence[str]) -> tuple[str, str]:
    """The first two files that would have the same result folder."""
    seen: dict[str, str] = {}
    for path, stem in zip(images, stems, strict=True):
        if stem.lower() in seen:
            return seen[stem.lower()], path.name
        seen[stem.lower()] = path.name
    raise ValueError("all names differ")


def _image_case(name: str, path: Path) -> FolderCase:
    """An image file; one whose voxels lie beside the header counts with all files of the same stem."""
    files = [path]
    if image_suffix(path) in (".mhd", ".nhdr"):
        stem = path.name[: -len(image_suffix(path))]
        files += [p for p in path.parent.iterdir() if p.name.startswith(f"{stem}.") and p.suffix in _RAW]
    facts = sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    return FolderCase(name, (path,), digest_of(facts))


def _with_different_names(folder: Path, cases: Sequence[FolderCase]) -> Sequence[FolderCase]:
    seen: dict[str, FolderCase] = {}
    for case in cases:
        other = seen.setdefault(case.name.lower(), case)
        if other is not case:
            raise ConfigurationError(
                f"{folder}: {other.files[0].name} and {case.files[0].name} would both be called {case.name}; rename one"
            )
    return cases
