"""Two statements of one length in a header: both figures in one line, and the rule that decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.geometry import spacing_of
from medseg.io.ct.facts import header_notes
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_series
from medseg.io.ct.stack import sort_stack
from medseg.io.ct.verdict import judge_series
from tests.io._dicom_files import positions, write_series
from tests.io._dicom_phantom import tilted
from tests.io._enhanced_files import item, make_enhanced, write_enhanced


@pytest.mark.parametrize(
    ("tags", "line"),
    [
        (
            {"SpacingBetweenSlices": 4.0},
            "SpacingBetweenSlices is 4 mm, but the positions are 2.5 mm apart; the positions are used",
        ),
        (
            {"SpacingBetweenSlices": 1.25},
            "SpacingBetweenSlices is 1.25 mm, but the positions are 2.5 mm apart (2 times as far: are slices left "
            "out?); the positions are used",
        ),
        (
            {"SliceThickness": 1.0},
            "SliceThickness is 1 mm, but the positions are 2.5 mm apart, so 1.5 mm between slices are in no image; the "
            "positions are used",
        ),
        (
            {"ImagerPixelSpacing": [0.7, 0.9]},
            "ImagerPixelSpacing is 0.7 x 0.9 mm, but PixelSpacing is 0.7 x 0.6 mm; PixelSpacing is used",
        ),
        (
            {"NominalScannedPixelSpacing": [0.1, 0.1]},
            "NominalScannedPixelSpacing is 0.1 x 0.1 mm, but PixelSpacing is 0.7 x 0.6 mm; PixelSpacing is used",
        ),
    ],
)
def test_a_contradiction_is_one_line_for_reader_and_verdict(tmp_path: Path, tags: dict[str, object], line: str) -> None:
    write_series(tmp_path, positions(4), **tags)
    series = read_series(tmp_path)
    assert line in series.warnings
    assert spacing_of(series.affine_ras) == pytest.approx([0.6, 0.7, 2.5])
    (entry,) = list_series(tmp_path).series
    assert judge_series(entry).findings == (line,)


@pytest.mark.parametrize(
    "tags",
    [
        {"SpacingBetweenSlices": 2.5, "SliceThickness": 2.5},
        {"SpacingBetweenSlices": -2.5},
        {"SpacingBetweenSlices": 2.505},
        {"SpacingBetweenSlices": 0.0, "SliceThickness": 0.0},
        {"SliceThickness": 5.0},
        {"ImagerPixelSpacing": [0.7, 0.6]},
        {"ImagerPixelSpacing": [0.7]},
    ],
)
def test_what_agrees_or_says_nothing_is_no_contradiction(tmp_path: Path, tags: dict[str, object]) -> None:
    write_series(tmp_path, positions(4), **tags)
    assert read_series(tmp_path).warnings == ()


def test_the_table_advance_of_a_tilted_gantry_is_no_contradiction(tmp_path: Path) -> None:
    write_series(tmp_path, [(0, 0, 2.0 * k) for k in range(5)], tilted(20.0), SpacingBetweenSlices=2.0)
    (entry,) = list_series(tmp_path).series
    assert header_notes(entry, sort_stack(entry)) == []


def test_the_true_spacing_beside_a_gap_is_no_contradiction(tmp_path: Path) -> None:
    where = positions(6)
    write_series(tmp_path, where[:2] + where[3:], SpacingBetweenSlices=2.5)
    (entry,) = list_series(tmp_path).series
    assert header_notes(entry, sort_stack(entry)) == []


class TestMultiFrame:
    def test_the_frames_own_groups_go_before_the_shared_ones(self, tmp_path: Path) -> None:
        own = {"PixelMeasuresSequence": {"PixelSpacing": [0.5, 0.4], "SliceThickness": 9.0}}
        write_enhanced(tmp_path / "a.dcm", positions(4), frame_groups=lambda f: own)
        series = read_series(tmp_path)
        assert spacing_of(series.affine_ras) == pytest.approx([0.4, 0.5, 2.5])
        assert (
            "4 of 4 frames: PixelSpacing is 0.7 x 0.6 in the shared groups and 0.5 x 0.4 in the frame's own groups, "
            "which are used"
        ) in series.warnings

    def test_a_position_in_the_shared_groups_too(self, tmp_path: Path) -> None:
        data = make_enhanced(positions(4))
        data.SharedFunctionalGroupsSequence[0].PlanePositionSequence = [item(ImagePositionPatient=[1, 2, 3])]
        data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        (line,) = read_series(tmp_path).warnings
        assert line.startswith("4 of 4 frames: ImagePositionPatient is 1 x 2 x 3 in the shared groups and -12.5 x ")

    def test_the_groups_go_before_the_top_level(self, tmp_path: Path) -> None:
        data = make_enhanced(positions(4))
        data.PixelSpacing = [0.8, 0.8]
        data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        series = read_series(tmp_path)
        assert spacing_of(series.affine_ras)[:2] == pytest.approx([0.6, 0.7])
        assert any("0.8 x 0.8 at the top level and 0.7 x 0.6 in the shared groups" in line for line in series.warnings)

    def test_one_statement_repeated_is_no_contradiction(self, tmp_path: Path) -> None:
        own = {"PixelMeasuresSequence": {"PixelSpacing": [0.7, 0.6], "SliceThickness": 9.0}}
        write_enhanced(tmp_path / "a.dcm", positions(4), frame_groups=lambda f: own)
        assert read_series(tmp_path).warnings == ()


@pytest.mark.parametrize("name", ["lidc", "abdomen_totalseg", "dicom_tilt_ge", "dicom_seg_dcmqi"])
def test_no_real_series_contradicts_itself(real_data, name: str) -> None:
    for entry in list_series(real_data(name)).series:
        stack = sort_stack(entry)
        assert header_notes(entry, stack) == []
        assert np.isfinite(stack.positions).all()
