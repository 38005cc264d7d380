"""Case folders: NIfTI, DICOM, JSON truth, simulated LIDC readings and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medseg.datasets.lidc import annotation_mask, read_xml
from medseg.datasets.phantom import Phantom, abdomen_phantom, chest_phantom, write_phantom_dicom, write_phantom_nifti
from medseg.datasets.phantom.__main__ import main
from medseg.geometry import apply_affine
from medseg.io.volumes.nifti import read_nifti
from tests.datasets.phantom.test_outline import fill


@cache
def chest() -> Phantom:
    return chest_phantom(2, spacing_mm=(1.5, 1.5, 2.5), orientation="LPS", n_nodules=6, supersample=1)


@cache
def abdomen() -> Phantom:
    return abdomen_phantom(1, spacing_mm=(6, 6, 6), orientation="LPS")


def test_nifti_case_holds_the_phantom_exactly(tmp_path: Path) -> None:
    case = write_phantom_nifti(abdomen(), tmp_path, "case_1")
    assert case == tmp_path / "case_1"
    for name, expected in (("image", abdomen().image), ("label", abdomen().label), ("organs", abdomen().organs)):
        volume = read_nifti(case / f"{name}.nii.gz")
        assert np.array_equal(volume.array, expected) and volume.array.dtype == expected.dtype
        assert np.abs(volume.affine_ras - abdomen().affine_ras).max() < 1e-4


def test_truth_says_that_it_is_synthetic_and_gives_both_frames(tmp_path: Path) -> None:
    case = write_phantom_nifti(abdomen(), tmp_path, "case")
    truth = json.loads((case / "truth.json").read_text())
    assert truth["synthetic"] is True and truth["seed"] == 1 and truth["kind"] == "abdomen"
    assert truth["organ_volumes_ml"]["liver"] > 500
    assert len(truth["lesions"]) == len(abdomen().lesions) > 0
    for lesion in truth["lesions"]:
        assert np.allclose(np.array(lesion["centre_ras_mm"]) * [-1, -1, 1], lesion["centre_lps_mm"])
        assert lesion["volume_ml"] > 0 and 3 <= round(lesion["diameter_mm"]) <= 52


def test_dicom_series_is_on_the_grid_of_the_label(tmp_path: Path) -> None:
    case = write_phantom_dicom(abdomen(), tmp_path / "case")
    label = read_nifti(case / "label.nii.gz")
    slices = [pydicom.dcmread(path) for path in (case / "dicom").iterdir()]
    assert len(slices) == label.array.shape[2]
    for dataset in slices:
        position = np.array(dataset.ImagePositionPatient, float) * [-1, -1, 1]
        i, j, k = np.rint(apply_affine(np.linalg.inv(label.affine_ras), position)).astype(int)
        assert (i, j) == (0, 0)
        stored = dataset.pixel_array.T.astype(int) + int(dataset.RescaleIntercept)
        assert np.array_equal(stored, abdomen().image[:, :, k])
        assert str(dataset.PatientName) == "PHANTOM^ABDOMEN" and "synthetic" in dataset.Manufacturer


def test_seed_decides_the_uids(tmp_path: Path) -> None:
    write_phantom_dicom(abdomen(), tmp_path / "a")
    write_phantom_dicom(abdomen(), tmp_path / "b")
    one, two = (sorted(path.read_bytes() for path in (tmp_path / n / "dicom").iterdir()) for n in "ab")
    assert one == two


def drawn_masks() -> list[np.ndarray]:
    """Readers' masks in the order of the sessions."""
    marks = [mark for lesion in chest().lesions for mark in lesion.readers]
    masks = []
    for mark in sorted(marks, key=lambda mark: mark.reader):
        mask = np.zeros(chest().image.shape, bool)
        mask[mark.box] = mark.mask
        masks.append(mask)
    return masks


def test_outlines_in_the_xml_filled_back_are_the_readers_masks(tmp_path: Path) -> None:
    case = write_phantom_dicom(chest(), tmp_path / "case")
    reading = read_xml(case / "lidc.xml")
    slice_z = [float(chest().affine_ras[2] @ [0, 0, k, 1]) for k in range(chest().image.shape[2])]
    assert reading.readers == 4 and len(reading.annotations) == len(drawn_masks()) > 10
    for annotation, expected in zip(reading.annotations, drawn_masks(), strict=True):
        found = np.zeros(chest().image.shape, bool)
        for contour in annotation.contours:
            k = int(np.argmin(np.abs(np.array(slice_z) - contour.z_mm)))
            inside = fill(contour.points, chest().image.shape[:2], with_outline=not contour.inclusion)
            found[:, :, k] = found[:, :, k] | inside if contour.inclusion else found[:, :, k] & ~inside
        assert np.array_equal(found, expected)


def test_lidc_reader_recovers_masks_and_ratings(tmp_path: Path) -> None:
    case = write_phantom_dicom(chest(), tmp_path / "case")
    reading = read_xml(case / "lidc.xml")
    slice_z = [float(chest().affine_ras[2] @ [0, 0, k, 1]) for k in range(chest().image.shape[2])]
    marks = sorted((m for lesion in chest().lesions for m in lesion.readers), key=lambda mark: mark.reader)
    for annotation, mark, expected in zip(reading.annotations, marks, drawn_masks(), strict=True):
        patch = annotation_mask(annotation, slice_z, chest().image.shape[:2]).patch
        found = np.zeros(chest().image.shape, bool)
        box = tuple(slice(s, s + n) for s, n in zip(patch.start, patch.mask.shape, strict=True))
        found[box] = patch.mask
        assert np.array_equal(found, expected)
        assert dict(annotation.ratings) == mark.ratings and annotation.reader == mark.reader + 1
    assert not reading.warnings


def test_xml_belongs_to_the_series(tmp_path: Path) -> None:
    case = write_phantom_dicom(chest(), tmp_path / "case")
    slices = [pydicom.dcmread(path, stop_before_pixels=True) for path in (case / "dicom").iterdir()]
    position_of = {s.SOPInstanceUID: float(s.ImagePositionPatient[2]) for s in slices}
    text = (case / "lidc.xml").read_text()
    assert f"<SeriesInstanceUid>{slices[0].SeriesInstanceUID}</SeriesInstanceUid>" in text
    assert f"<StudyInstanceUID>{slices[0].StudyInstanceUID}</StudyInstanceUID>" in text
    positions = [float(line.split(">")[1].split("<")[0]) for line in text.splitlines() if "imageZposition" in line]
    uids = [line.split(">")[1].split("<")[0] for line in text.splitlines() if "imageSOP_UID" in line]
    assert len(positions) == len(uids) > 50
    assert all(abs(position_of[uid] - z) < 1e-5 for uid, z in zip(uids, positions, strict=True))


def test_points_in_the_xml_lie_at_their_positions(tmp_path: Path) -> None:
    phantom = next(
        p
        for p in (chest_phantom(seed, spacing_mm=(3, 3, 3), orientation="LPS") for seed in range(9))
        if len(p.points) > 2
    )
    case = write_phantom_dicom(phantom, tmp_path / "case")
    found = read_xml(case / "lidc.xml").points
    kinds = {"nodule_below_3mm": "small-nodule", "non_nodule": "non-nodule"}
    assert len(found) == sum(len(point.readers) for point in phantom.points)
    for point in found:
        slices = phantom.affine_ras[2, 3] + 3.0 * np.arange(phantom.image.shape[2])
        k = int(np.argmin(np.abs(slices - point.z_mm)))
        place = apply_affine(phantom.affine_ras, (point.x, point.y, k))
        near = [p for p in phantom.points if np.abs(place - p.centre_ras_mm).max() <= 1.51]
        assert any(p.kind == kinds[point.kind] and point.reader - 1 in p.readers for p in near)


def test_chest_in_sagittal_slices_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    phantom = chest_phantom(0, spacing_mm=(10, 10, 10), orientation="PIR")
    with pytest.raises(ValueError, match="axial"):
        write_phantom_dicom(phantom, tmp_path / "case")
    assert not (tmp_path / "case").exists()


def test_command_writes_the_cases_it_announces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--kind", "abdomen", "--count", "2", "--seed", "4", "--out", str(tmp_path), "--spacing", "8", "8", "8"]
    assert main([*arguments, "--format", "both"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "abdomen_0000"), str(tmp_path / "abdomen_0001")]
    for number in (0, 1):
        case = tmp_path / f"abdomen_000{number}"
        assert sorted(path.name for path in case.iterdir()) == [
            "dicom", "image.nii.gz", "label.nii.gz", "organs.nii.gz", "truth.json",
        ]  # fmt: skip
        assert json.loads((case / "truth.json").read_text())["seed"] == 4 + number
        assert read_nifti(case / "label.nii.gz").array.shape == (45, 38, 30)
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_command_refuses_nonsense_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kind", "chest", "--out", str(tmp_path), "--spacing", "0", "1", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "spacing_mm" in error


def test_help_is_quick_and_light() -> None:
    code = (
        "import sys; sys.argv=['x','--help']\n"
        "from medseg.datasets.phantom.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('heavy', [m for m in ('torch','nibabel','pydicom','monai') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--kind" in run.stdout and "heavy []" in run.stdout
