from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import RLELossless

from data_prep import ls
from medseg.geometry import apply_affine
from medseg.io.bounded.errors import DataError, SeriesGeometryError
from medseg.io.ct.enhanced import expand_frames
from medseg.io.ct.header import SliceHeader
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_series
from medseg.io.results.source import read_source
from tests.io._dicom_files import make_slice, positions, stored_pixels, write_series
from tests.io._enhanced_files import item, make_enhanced, write_enhanced

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)


def _refusal(folder: Path, kind: type[DataError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        read_series(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestVolume:
    @pytest.mark.parametrize("shared", [True, False], ids=["shared groups", "groups of each frame"])
    def test_frames_equal_the_same_slices_in_single_files(self, tmp_path: Path, shared: bool) -> None:
        where = positions(4, orientation=OBLIQUE)
        write_series(tmp_path / "single", where, OBLIQUE)
        write_enhanced(tmp_path / "multi" / "a.dcm", where, OBLIQUE, shared=shared)
        single, multi = read_series(tmp_path / "single"), read_series(tmp_path / "multi")
        assert np.array_equal(single.array, multi.array)
        assert multi.affine_ras == pytest.approx(single.affine_ras, abs=1e-9)
        assert multi.facts["slice_thickness_mm"] == 9.0
        assert multi.frame_numbers == (1, 2, 3, 4)
        assert len(set(multi.sop_instance_uids)) == 1

    def test_frames_are_ordered_by_position_not_by_number(self, tmp_path: Path) -> None:
        where = positions(6)
        order = [3, 0, 5, 1, 4, 2]
        write_enhanced(tmp_path / "a.dcm", [where[n] for n in order])
        series = read_series(tmp_path)
        assert series.frame_numbers == tuple(order.index(k) + 1 for k in range(6))
        for k in range(6):
            assert np.array_equal(series.array[:, :, k], (stored_pixels(order.index(k)) - 1024).T)
            assert apply_affine(series.affine_ras, [0, 0, k]) == pytest.approx(np.multiply(where[k], [-1, -1, 1]))

    def test_every_frame_has_its_own_rescaling(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "a.dcm", positions(3), rescale=lambda f: (f + 1, -1000 * f))
        array = read_series(tmp_path).array
        for f in range(3):
            assert np.array_equal(array[:, :, f], (stored_pixels(f) * (f + 1) - 1000 * f).T)

    def test_compressed_frames_equal_plain_ones(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "plain" / "a.dcm", positions(5))
        data = make_enhanced(positions(5))
        data.compress(RLELossless)
        (tmp_path / "rle").mkdir()
        data.save_as(tmp_path / "rle" / "a.dcm", enforce_file_format=True)
        assert np.array_equal(read_series(tmp_path / "plain").array, read_series(tmp_path / "rle").array)

    def test_one_volume_may_lie_in_several_files(self, tmp_path: Path) -> None:
        where = positions(7)
        write_enhanced(tmp_path / "b.dcm", where[:3])
        write_enhanced(tmp_path / "a.dcm", where[3:])
        series = read_series(tmp_path)
        assert series.frame_numbers == (1, 2, 3, 1, 2, 3, 4)
        assert [path.name for path in series.files] == ["b.dcm"] * 3 + ["a.dcm"] * 4

    def test_two_stacks_are_two_volumes(self, tmp_path: Path) -> None:
        where = positions(4)
        write_enhanced(
            tmp_path / "a.dcm",
            [*where, *where],
            frame_groups=lambda f: {"FrameContentSequence": {"StackID": str(1 + f // 4), "InStackPositionNumber": 1}},
        )
        assert "mixes 2 grids" in _refusal(tmp_path, SeriesGeometryError)
        assert read_series(tmp_path, "#2").frame_numbers == (5, 6, 7, 8)

    def test_acquisitions_at_the_same_positions_are_told_apart(self, tmp_path: Path) -> None:
        where = positions(4)
        write_enhanced(
            tmp_path / "a.dcm",
            [*where, *where],
            frame_groups=lambda f: {"FrameContentSequence": {"FrameAcquisitionNumber": 1 + f % 2}},
        )
        assert "share 4 position(s)" in _refusal(tmp_path, SeriesGeometryError), "1 and 2 alternate along each pass"
        write_enhanced(
            tmp_path / "a.dcm",
            [*where, *where],
            frame_groups=lambda f: {"FrameContentSequence": {"FrameAcquisitionNumber": 1 + f // 4}},
        )
        assert read_series(tmp_path, "#1").frame_numbers == (1, 2, 3, 4)

    def test_a_missing_frame_is_a_gap_like_any_other(self, tmp_path: Path) -> None:
        where = positions(6)
        write_enhanced(tmp_path / "a.dcm", where[:3] + where[4:])
        text = _refusal(tmp_path, SeriesGeometryError)
        assert "1 slice(s) missing" in text
        assert "a.dcm frame 3" in text
        filled = read_series(tmp_path, policy=GeometryPolicy(gap="resample"))
        assert filled.frame_numbers == (1, 2, 3, 0, 4, 5)

    def test_the_listing_counts_files_and_frames(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "a.dcm", positions(4))
        entry = list_series(tmp_path).series[0]
        assert (entry.file_count, len(entry.headers)) == (1, 4)
        assert "1 files, 4 frames" in str(entry)


class TestFramesAreExpandedOnce:
    @pytest.fixture
    def expanded(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Names of the files whose frames were expanded, one for each call, whichever module called."""
        names: list[str] = []

        def counted(header: SliceHeader) -> list[SliceHeader]:
            names.append(header.path.name)
            return expand_frames(header)

        modules = [module for name, module in sys.modules.items() if name.startswith(("medseg.", "data_prep."))]
        callers = [module for module in modules if getattr(module, "expand_frames", None) is expand_frames]
        for module in callers:
            monkeypatch.setattr(module, "expand_frames", counted)
        return names

    @pytest.mark.parametrize("damaged", [False, True], ids=["good", "damaged"])
    @pytest.mark.parametrize("command", ["read_series", "read_source", "ls", "ls --deep"])
    def test_through_a_whole_command(self, tmp_path: Path, expanded: list[str], command: str, damaged: bool) -> None:
        for name, where in (("a.dcm", positions(6)[:3]), ("b.dcm", positions(6)[3:])):
            # The damaged file has the geometry of a single slice, so that only its frames can be refused.
            data = make_slice(stored_pixels(0), where[0], NumberOfFrames=3) if damaged else make_enhanced(where)
            data.save_as(tmp_path / name, enforce_file_format=True)
        with contextlib.suppress(DataError):
            if command.startswith("ls"):
                ls.main([str(tmp_path), *command.split()[1:]])
            else:
                {"read_series": read_series, "read_source": read_source}[command](tmp_path)
        assert expanded == ["a.dcm", "b.dcm"]

    def test_the_listing_keeps_the_frames_or_the_reason_why_there_are_none(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "good" / "a.dcm", positions(3))
        data = make_enhanced(positions(3))
        del data.PerFrameFunctionalGroupsSequence
        (tmp_path / "bad").mkdir()
        data.save_as(tmp_path / "bad" / "a.dcm", enforce_file_format=True)
        good, bad = (list_series(tmp_path / name).series[0].headers for name in ("good", "bad"))
        assert [(header.frame, header.frame_fault) for header in good] == [(1, ""), (2, ""), (3, "")]
        assert [header.frame for header in bad] == [0]
        assert "without functional groups" in bad[0].frame_fault


class TestRefusals:
    def test_frames_without_functional_groups(self, tmp_path: Path) -> None:
        data = make_enhanced(positions(3))
        del data.PerFrameFunctionalGroupsSequence
        data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert "multi-frame image (3 frames) without functional groups" in _refusal(tmp_path)

    @pytest.mark.parametrize("count", [2, 4, 2_000_000_000])
    def test_more_or_fewer_frames_than_their_groups(self, tmp_path: Path, count: int) -> None:
        data = make_enhanced(positions(3))
        data.NumberOfFrames = count
        data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert f"({count} frames) with 3 items" in _refusal(tmp_path)

    def test_a_frame_without_its_position(self, tmp_path: Path) -> None:
        data = make_enhanced(positions(3))
        del data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
        data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert "frame 2 has no ImagePositionPatient" in _refusal(tmp_path)

    def test_a_group_of_two_items(self, tmp_path: Path) -> None:
        data = make_enhanced(positions(3))
        group = data.PerFrameFunctionalGroupsSequence[0]
        group.PlanePositionSequence = [*group.PlanePositionSequence, item(ImagePositionPatient=[0, 0, 0])]
        data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert "PlanePositionSequence cannot be read (it has 2 items, expected one)" in _refusal(tmp_path)

    def test_a_frame_without_rescaling(self, tmp_path: Path) -> None:
        data = make_enhanced(positions(3))
        del data.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence
        data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert "RescaleSlope is absent" in _refusal(tmp_path)

    def test_frames_cut_off_at_the_end(self, tmp_path: Path) -> None:
        path = write_enhanced(tmp_path / "a.dcm", positions(3))
        path.write_bytes(path.read_bytes()[:-70])
        assert "110 bytes of pixel data, expected 180" in _refusal(tmp_path)

    def test_compressed_frames_that_are_missing(self, tmp_path: Path) -> None:
        data = make_enhanced(positions(3))
        data.compress(RLELossless)
        data.NumberOfFrames = 4
        data.PerFrameFunctionalGroupsSequence = [
            *data.PerFrameFunctionalGroupsSequence,
            item(
                PlanePositionSequence={"ImagePositionPatient": list(positions(4)[3])},
                PixelValueTransformationSequence={"RescaleSlope": 1, "RescaleIntercept": 0},
            ),
        ]
        data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert "3 compressed frames, expected 4" in _refusal(tmp_path)


@pytest.mark.parametrize("size", ["23x38x3", "24x38x3"])
def test_a_real_multi_frame_ct_equals_its_single_frame_original(real_data, size: str) -> None:
    folder = real_data(f"dicom_seg_dcmqi/{size}")
    single, multi = read_series(folder / "image"), read_series(folder / "multiframe")
    assert np.array_equal(single.array, multi.array)
    assert np.array_equal(single.affine_ras, multi.affine_ras)
    assert multi.frame_numbers == (1, 2, 3)
