"""DICOM CT series to NIfTI: our conversion with all its checks against dicom2nifti and the readers of MONAI.

The cohort is synthetic: chest phantoms of 512 x 512 pixels written as DICOM, uncompressed. Every converter reads each
series from its folder and writes int16 (dicom2nifti: float64, the only type it writes) as .nii.gz through nibabel at
nibabel's own compression; ours also writes the sidecar. Before anything is timed, the images are compared voxel by
voxel, and the affines to 1e-3 mm, after both were brought to the orientation nearest to RAS. Bar: not slower than the
fastest of them. ``peak_mb`` is the rise of the resident memory while one series is converted, ``process_mb`` the peak
of the whole process with the libraries that it needs; both come from a fresh process. Every converter runs in one
process and one thread; none of them can use more.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import _harness as harness

BAR = 1.0
SIDE = 512
QUICK, FULL = (1, 40), (2, 100)
"""Series and slices of each."""
_AFFINE_MM = 1e-3


def ours(series: Path, image: Path) -> None:
    """What ``python -m data_prep.convert`` does: all checks, image and sidecar."""
    from data_prep.convert import write_series
    from medseg.io.ct.series import read_series

    write_series(read_series(series), image)


def dicom2nifti(series: Path, image: Path) -> None:
    """dicom2nifti, with its own checks, in the orientation of the slices."""
    import dicom2nifti as package

    package.dicom_series_to_nifti(str(series), str(image), reorient_nifti=False)


def monai_pydicom(series: Path, image: Path) -> None:
    """MONAI's `LoadImage` with `PydicomReader`, written by its `NibabelWriter`."""
    _monai("PydicomReader", series, image)


def monai_itk(series: Path, image: Path) -> None:
    """MONAI's `LoadImage` with `ITKReader`, written by its `NibabelWriter`."""
    _monai("ITKReader", series, image)


def _monai(reader: str, series: Path, image: Path) -> None:
    from monai.data import NibabelWriter
    from monai.transforms import LoadImage

    loaded = LoadImage(reader=reader, image_only=True, dtype=np.int16, ensure_channel_first=True)(str(series))
    writer = NibabelWriter(output_dtype=np.int16)
    writer.set_data_array(loaded, channel_dim=0)
    writer.set_metadata(loaded.meta, resample=False)
    writer.write(str(image))


PEERS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "dicom2nifti": (dicom2nifti, "dicom2nifti"),
    "MONAI PydicomReader": (monai_pydicom, "pydicom"),
    "MONAI ITKReader": (monai_itk, "itk"),
}
"""Converter and the package that it needs, by name."""


def write_cohort(folder: Path, count: int, slices: int, side: int = SIDE) -> list[Path]:
    """Write chest phantoms as DICOM and return the folders of their series."""
    from medseg.datasets.phantom import chest_phantom, write_phantom_dicom

    spacing = (350 / side, 350 / side, 250 / slices)
    for seed in range(count):
        phantom = chest_phantom(seed, spacing_mm=spacing, shape=(side, side, slices), orientation="LPS", supersample=1)
        write_phantom_dicom(phantom, folder / f"case_{seed}")
    return sorted(folder.glob("case_*/dicom"))


def compare(name: str, found: Path, expected: Path) -> None:
    """Raise a RuntimeError unless two NIfTI files hold the same image, up to the order of the axes."""
    import nibabel as nib

    ours, theirs = (nib.as_closest_canonical(nib.load(path)) for path in (expected, found))
    if ours.shape != theirs.shape or not np.array_equal(np.asanyarray(ours.dataobj), np.asanyarray(theirs.dataobj)):
        raise RuntimeError(f"{name}: its voxels differ from ours")
    shift = float(np.abs(ours.affine - theirs.affine).max())
    if not shift <= _AFFINE_MM:
        raise RuntimeError(f"{name}: its affine differs from ours by {shift:.3g} mm")


def over_all(convert: Callable[[Path, Path], None], cohort: Sequence[Path], image: Path) -> Callable[[], None]:
    """Convert every series of the cohort, each into the same file."""

    def run() -> None:
        for series in cohort:
            image.unlink(missing_ok=True)
            convert(series, image)

    return run


def memory(who: str, warm: Path, series: Path, image: Path) -> tuple[float, float]:
    """Rise during one conversion and peak of this whole process, in MiB; a small series loads the libraries before."""
    convert = PEERS[who][0] if who in PEERS else ours
    convert(warm, image.with_name("warm.nii.gz"))
    rise = harness.peak_rise_mb(lambda: convert(series, image))
    return rise, harness.process_peak_mb()


def child_memory(who: str, warm: Path, series: Path, image: Path) -> tuple[float, float]:
    """`memory` of a fresh process."""
    words = [who, str(warm), str(series), str(image)]
    rise, whole = harness.in_child("benchmarks.data_prep", "--memory-of", *words).split()
    return float(rise), float(whole)


def measure(folder: Path, count: int, slices: int, quick: bool) -> list[harness.Row]:
    """Compare the outputs, times and memory of all converters on one cohort; one row for each peer."""
    cohort = write_cohort(folder / "in", count, slices)
    (warm,) = write_cohort(folder / "warm", 1, 8, side=64)
    peers = {name: convert for name, (convert, package) in PEERS.items() if importlib.util.find_spec(package)}
    images = {name: folder / f"{number}.nii.gz" for number, name in enumerate(["ours", *peers])}
    for series in cohort:
        ours(series, images["ours"])
        for name, convert in peers.items():
            convert(series, images[name])
            compare(name, images[name], images["ours"])
    functions = {name: over_all(convert, cohort, images[name]) for name, convert in {"ours": ours, **peers}.items()}
    times = harness.time_interleaved(functions, repeats=3 if quick else 7, most_seconds=5 if quick else 600)
    weights = {name: child_memory(name, warm, cohort[0], folder / "memory.nii.gz") for name in functions}
    total = count * slices
    case = f"{count} x {slices} slices of {SIDE} x {SIDE}"
    rows = [_row(case, name, total, times, weights) for name in peers]
    missing = [name for name in PEERS if name not in peers]
    return rows + [{"case": case, "peer": f"missing: pip install {PEERS[name][1]}"} for name in missing]


def _row(
    case: str,
    peer: str,
    slices: int,
    times: dict[str, harness.Timing],
    weights: dict[str, tuple[float, float]],
) -> harness.Row:
    mine, theirs = times["ours"].median_ms, times[peer].median_ms
    return {
        "case": case,
        "ours_ms": mine,
        "ours_spread_ms": times["ours"].spread_ms,
        "ours_slices_per_s": 1e3 * slices / mine,
        "peer": peer,
        "peer_ms": theirs,
        "peer_spread_ms": times[peer].spread_ms,
        "peer_slices_per_s": 1e3 * slices / theirs,
        "ratio": theirs / mine,
        "peak_mb": weights["ours"][0],
        "peer_peak_mb": weights[peer][0],
        "process_mb": weights["ours"][1],
        "peer_process_mb": weights[peer][1],
        "bar": BAR,
        "pass": theirs / mine >= BAR,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    warnings.simplefilter("ignore")
    if words[:1] == ["--memory-of"]:
        print(*memory(words[1], *(Path(word) for word in words[2:])))
        return 0
    options = harness.arguments(__doc__, argv)
    packages = ("nibabel", "pydicom", "monai", "dicom2nifti", "itk")
    versions = {name: importlib.metadata.version(name) for name in packages if importlib.util.find_spec(name)}
    head = harness.header(options.threads or 1, "fresh file in every call", **versions)
    folder = Path(tempfile.mkdtemp(prefix="medseg-bench-"))
    try:
        rows = measure(folder, *(QUICK if options.quick else FULL), options.quick)
    finally:
        shutil.rmtree(folder)
    notes = ["Synthetic phantoms, uncompressed DICOM. peak_mb: one series, in a fresh process."]
    return harness.finish(options, head, rows, notes)


if __name__ == "__main__":
    sys.exit(main())
