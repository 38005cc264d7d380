"""LUNA16's tables: what is read, where it lies, and which nodule it shows."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from medseg.datasets.luna16 import (
    Finding,
    findings_to_voxels,
    match_findings,
    read_candidates,
    read_findings,
)
from medseg.geometry import make_affine
from medseg.io.bounded.errors import DataError
from medseg.io.volumes.image import read_image_info, write_image

HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def _write(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_become_findings(tmp_path: Path) -> None:
    path = _write(tmp_path, "\ufeff" + HEAD + "1.2,-3.5,4,5e1,6.25\n1.3,0,0,0,3\n")
    assert read_findings(path) == [Finding("1.2", (-3.5, 4.0, 50.0), 6.25), Finding("1.3", (0.0, 0.0, 0.0), 3.0)]


def test_candidates_have_a_class(tmp_path: Path) -> None:
    found = read_candidates(_write(tmp_path, "seriesuid,coordX,coordY,coordZ,class\n1.2,1,2,3,0\n1.2,1,2,4,1\n"))
    assert [(item.centre_lps_mm, item.nodule) for item in found] == [((1, 2, 3), False), ((1, 2, 4), True)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seriesuid,coordX,coordY,coordZ\n", "no column 'diameter_mm'"),
        (HEAD + "1.2,1,2,x,4\n", "line 2: coordZ is 'x', expected a number of millimetres"),
        (HEAD + "1.2,1,2,nan,4\n", "coordZ is 'nan'"),
        (HEAD + "1.2,1,2,3,0\n", "diameter_mm is 0, expected a positive number"),
        (HEAD + "1.2,1,2\n", "line 2: too few columns"),
        (HEAD.strip() + ',mal_details\n1.2,1,2,3,4,"[1, 6]"\n', "expected scores of 1 to 5"),
    ],
)
def test_damage_is_named_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_findings(_write(tmp_path, text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_findings(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"seriesuid\xff\xfe\x00")
    with pytest.raises(DataError, match="not a CSV table"):
        read_findings(tmp_path / "binary.csv")
    with pytest.raises(DataError, match="class is '2', expected 0 or 1"):
        read_candidates(_write(tmp_path, "seriesuid,coordX,coordY,coordZ,class\n1.2,1,2,3,2\n"))


def test_millimetres_become_voxels_of_a_metaimage_whatever_its_axes(tmp_path: Path) -> None:
    finding = Finding("1.2", (-12.0, 33.0, -70.0), 5.0)
    for axes in ("LPS", "RPS", "LAS", "SLP"):
        affine = make_affine((0.5, 0.75, 2.0), (20.0, -30.0, -90.0), axes)
        write_image(tmp_path / "1.2.mhd", np.zeros((80, 60, 20), np.int16), affine)
        ((i, j, k),) = findings_to_voxels([finding], read_image_info(tmp_path / "1.2.mhd").affine_ras)
        # LPS (-12, 33, -70) is RAS (12, -33, -70).
        assert affine @ [i, j, k, 1] == pytest.approx([12, -33, -70, 1])
    assert findings_to_voxels([], affine).shape == (0, 3)


def test_findings_and_nodules_are_paired_one_to_one() -> None:
    findings = [Finding("1", (0, 0, 0), 10.0), Finding("1", (4, 0, 0), 10.0), Finding("1", (50, 0, 0), 10.0)]
    nodules = [(3.0, 0, 0), (-1.0, 0, 0), (60.0, 0, 0)]
    found = match_findings(findings, nodules)
    assert [(match.finding, match.nodule) for match in found] == [(0, 1), (1, 0)]
    assert [match.distance_mm for match in found] == [1.0, 1.0]
    assert match_findings(findings, []) == match_findings([], nodules) == []


def test_pairing_is_the_best_of_all_assignments() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        findings = [Finding("1", tuple(rng.random(3) * 10), 4 + 12 * rng.random()) for _ in range(4)]
        nodules = rng.random((4, 3)) * 10
        radius = [item.diameter_mm / 2 for item in findings]
        best = (0, 0.0)
        for order in itertools.permutations(range(4)):
            steps = [float(np.linalg.norm(findings[a].centre_lps_mm - nodules[b])) for a, b in enumerate(order)]
            kept = [step for step, limit in zip(steps, radius, strict=True) if step <= limit]
            best = max(best, (len(kept), -sum(kept)))
        found = match_findings(findings, nodules)
        assert (len(found), -sum(match.distance_mm for match in found)) == pytest.approx(best)


def test_the_real_tables(real_data) -> None:
    findings = read_findings(real_data("luna16/annotations.csv"))
    assert len(findings) == 1186
    assert len({item.series_uid for item in findings}) == 601
    rated = read_findings(real_data("luna16/annotations_with_malignancy.csv"))
    assert len(rated) == 1182
    assert all(len(item.malignancy) >= 3 for item in rated)
    places = {(item.series_uid, round(item.centre_lps_mm[0], 3)) for item in findings}
    assert sum((item.series_uid, round(item.centre_lps_mm[0], 3)) in places for item in rated) == 1182
