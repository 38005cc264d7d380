"""``medseg segment`` on MetaImage and NRRD: the mask of the same voxels as NIfTI, on the same grid in RAS mm."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from medseg.apps.cli import main
from medseg.geometry import make_affine
from medseg.inference import IntegrityError, read_case
from medseg.io.volumes.image import write_image
from medseg.io.volumes.nifti import read_nifti
from tests.apps.test_segment import SHAPE, ball_in_air, load, segment
from tests.inference._tiny_bundle import THRESHOLD_HU, make_tiny_bundle
from tests.io._dicom_files import positions, write_series

SPACING, ORIGIN = (0.8, 1.3, 2.5), (-31.0, 12.0, 55.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("formats") / "bundle")


def metaimage_header(raw: str = "ct.raw") -> str:
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = {' '.join(map(str, ORIGIN))}\n"
        f"ElementSpacing = {' '.join(map(str, SPACING))}\nDimSize = {' '.join(map(str, SHAPE))}\n"
        f"ElementType = MET_SHORT\nElementDataFile = {raw}\n"
    )


def nrrd_header(space: str | None, raw: str = "ct.raw") -> str:
    named = [] if space is None else [f"space: {space}"]
    x, y, z = SPACING
    return "\n".join(
        [
            "NRRD0004",
            "type: int16",
            "dimension: 3",
            *named,
            f"sizes: {' '.join(map(str, SHAPE))}",
            *([f"space directions: ({x},0,0) (0,{y},0) (0,0,{z})"] if space else [f"spacings: {x} {y} {z}"]),
            "endian: little",
            "encoding: raw",
            *([f"space origin: ({','.join(map(str, ORIGIN))})"] if space else []),
            f"data file: {raw}",
            "",
        ]
    )


def with_raw(folder: Path, name: str, header: str) -> Path:
    """A header file beside the ball's voxels, written by hand."""
    (folder / "ct.raw").write_bytes(ball_in_air().astype("<i2").tobytes(order="F"))
    (folder / name).write_text(header)
    return folder / name


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("codes", ["LPS", "RAS", "PSR"])
def test_the_mask_and_its_grid_are_those_of_the_same_voxels_as_nifti(
    tmp_path: Path, bundle: Path, suffix: str, codes: str
) -> None:
    affine = make_affine(SPACING, ORIGIN, codes)
    for ending in (suffix, ".nii.gz"):
        write_image(tmp_path / f"ct{ending}", ball_in_air(), affine)
        assert segment(tmp_path / f"ct{ending}", tmp_path / f"out{ending}", bundle) == 0
    other, nifti = (read_nifti(tmp_path / f"out{ending}" / "seg.nii.gz") for ending in (suffix, ".nii.gz"))
    np.testing.assert_array_equal(other.array, ball_in_air() > THRESHOLD_HU)
    np.testing.assert_array_equal(other.array, nifti.array)
    np.testing.assert_allclose(other.affine_ras, nifti.affine_ras, atol=1e-5)
    ours, theirs = (load(tmp_path / f"out{e}" / "statistics.json")["classes"][0] for e in (suffix, ".nii.gz"))
    assert (ours["n_voxels"], ours["hu"]) == (theirs["n_voxels"], theirs["hu"])
    assert ours["volume_ml"] == pytest.approx(theirs["volume_ml"], rel=1e-6)  # NIfTI keeps float32 affines
    assert (
        load(tmp_path / f"out{suffix}" / "run.json")["input"]["kind"] == {".mha": "metaimage", ".nrrd": "nrrd"}[suffix]
    )


@pytest.mark.parametrize(
    ("name", "header", "signs"),
    [
        ("ct.mhd", metaimage_header(), (-1, -1, 1)),  # MetaImage is in LPS mm
        ("ct.nhdr", nrrd_header("left-posterior-superior"), (-1, -1, 1)),
        ("ct.nhdr", nrrd_header("right-anterior-superior"), (1, 1, 1)),
    ],
)
def test_a_header_beside_raw_voxels_lies_where_its_frame_says(
    tmp_path: Path, bundle: Path, name: str, header: str, signs: tuple[int, int, int]
) -> None:
    assert segment(with_raw(tmp_path, name, header), tmp_path / "out", bundle) == 0
    mask, affine, *_ = read_nifti(tmp_path / "out" / "seg.nii.gz")
    np.testing.assert_array_equal(mask, ball_in_air() > THRESHOLD_HU)
    expected = np.diag([*np.multiply(signs, SPACING), 1.0])
    expected[:3, 3] = np.multiply(signs, ORIGIN)
    np.testing.assert_allclose(affine, expected, atol=1e-5)


def test_a_nrrd_file_without_a_space_needs_the_statement_and_records_it(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = with_raw(tmp_path, "ct.nhdr", nrrd_header(None))
    assert segment(case, tmp_path / "out", bundle) == 3
    assert "--assume-space LPS" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert segment(case, tmp_path / "out", bundle, "--assume-space", "LPS") == 0
    report = load(tmp_path / "out" / "run.json")
    assert len(report["input"]["assumed"]) == 1
    assert "LPS as stated (--assume-space)" in report["input"]["assumed"][0]
    assert report["input"]["orientation"] == "LPS"


@pytest.mark.parametrize(
    ("name", "header", "words"),
    [
        ("ct.mhd", metaimage_header().replace("NDims = 3", "NDims = 2"), "NDims"),
        ("ct.mhd", metaimage_header().replace("DimSize = 20", "DimSize = 2000000000"), "2000000000"),
        ("ct.mhd", metaimage_header("../../secret.raw"), "ElementDataFile"),
        ("ct.mhd", metaimage_header().replace("DimSize = 20", "DimSize = 21"), "ct.raw"),
        (
            "ct.nhdr",
            nrrd_header("left-posterior-superior").replace("dimension: 3", "dimension: 4"),
            "sizes holds 3 values",
        ),
        ("ct.nhdr", nrrd_header("left-posterior-superior", "/etc/passwd"), "data file"),
        ("ct.nhdr", nrrd_header("scanner-xyz"), "space"),
        ("ct.seg.nrrd", nrrd_header("left-posterior-superior"), "is a segmentation"),
    ],
)
def test_a_hostile_header_is_refused_in_one_line_and_nothing_is_written(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], name: str, header: str, words: str
) -> None:
    case = with_raw(tmp_path, name, header)
    assert segment(case, tmp_path / "out", bundle) == (2 if "segmentation" in words else 3)
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if not line.startswith("[")]) == 1
    assert lines[-1].startswith("error: ")
    assert words in lines[-1]
    assert not (tmp_path / "out").exists()


def test_voxels_that_are_not_finite_follow_the_same_rules(tmp_path: Path) -> None:
    array = ball_in_air().astype(np.float32)
    array[3, 4, 5] = np.nan
    path = write_image(tmp_path / "ct.nrrd", array, np.eye(4))
    with pytest.raises(IntegrityError, match="not finite"):
        read_case(path)


def test_dicom_results_need_a_series(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = write_image(tmp_path / "ct.mha", ball_in_air(), np.eye(4))
    assert segment(case, tmp_path / "out", bundle, "--ot", "dicom_seg") == 2
    assert "not a file" in capsys.readouterr().err


def test_a_dry_run_names_the_format(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = write_image(tmp_path / "ct.mha", ball_in_air(), np.eye(4))
    words = ["segment", "-i", str(case), "-o", str(tmp_path / "out"), "--bundle", str(bundle), "--dry-run"]
    assert main([*words, "--device", "cpu"]) == 0
    assert "metaimage, 20 x 24 x 18 voxels" in capsys.readouterr().out


def test_an_archive_of_a_dicom_folder_gives_what_the_folder_gives(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "series" / "DOE_JANE", positions(6))
    archive = Path(shutil.make_archive(str(tmp_path / "MEIER_UDO"), "zip", tmp_path / "series"))
    for case, out in ((tmp_path / "series", "folder"), (archive, "archive")):
        assert segment(case, tmp_path / out, bundle) == 0
    first, second = (read_nifti(tmp_path / out / "seg.nii.gz") for out in ("folder", "archive"))
    np.testing.assert_array_equal(first.array, second.array)
    np.testing.assert_array_equal(first.affine_ras, second.affine_ras)
    gap = [where for number, where in enumerate(positions(6)) if number != 2]
    write_series(tmp_path / "gap" / "DOE_JANE", gap)
    broken = Path(shutil.make_archive(str(tmp_path / "MEIER_UTA"), "zip", tmp_path / "gap"))
    assert segment(broken, tmp_path / "out", bundle) == 3
    shown = capsys.readouterr()
    texts = [shown.out, shown.err, *(p.read_text() for p in (tmp_path / "archive").glob("*.[jl]*"))]
    assert not any(word in text for text in texts for word in ("DOE", "MEIER", "UTA"))
    broken.write_bytes(broken.read_bytes()[:200])
    assert segment(broken, tmp_path / "out", bundle) == 3
    assert not (tmp_path / "out").exists()
