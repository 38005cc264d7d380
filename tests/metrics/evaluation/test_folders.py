"""Scoring folders: grids, failures, and the summary with its comparison and report."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.io import write_image
from medseg.metrics.evaluation.classes import LITS_CLASSES
from medseg.metrics.evaluation.figure import draw_comparison
from medseg.metrics.evaluation.folders import Evaluation, Settings, evaluate_pairs
from medseg.metrics.evaluation.pairs import pair_files
from medseg.metrics.evaluation.report import report_html
from medseg.metrics.evaluation.summary import compare, summarise
from medseg.metrics.evaluation.tables import case_rows, csv_text, lesion_rows, lits_rows
from tests.metrics.evaluation._folders import AFFINE, label, write_folders

SETTINGS = Settings(LITS_CLASSES, ("tumour",), None, "lits")


def evaluate(root: Path, folder: str = "pred") -> Evaluation:
    return evaluate_pairs(pair_files(root / folder, root / "truth"), SETTINGS)


def test_known_scores_of_three_cases(tmp_path: Path) -> None:
    found = evaluate(write_folders(tmp_path))
    summary = summarise(found, resamples=200)
    tumour = summary["scores"]["tumour"]
    assert tumour["dice"]["mean"] == pytest.approx((0.75 + 0.75 + 0) / 3)
    assert tumour["dice_global"] == pytest.approx(2 * 96 / (64 * 5))
    assert (tumour["assd_mm"]["items"], tumour["empty"]["prediction"]) == (2, 1)
    assert tumour["lesions"]["found_half"]["recall"] == pytest.approx(2 / 3)
    assert tumour["lesions"]["recall_by_diameter"]["below_10_mm"] == {"lesions": 3, "recall": pytest.approx(2 / 3)}
    assert summary["lits"]["lesion_dice_per_case"] == pytest.approx(0.5)
    assert summary["lits"]["liver_dice_per_case"] == summary["scores"]["liver"]["dice"]["mean"] == pytest.approx(0.9)
    rows = case_rows(found)
    assert [(row["case"], row["class"], row["empty"]) for row in rows][-2:] == [
        ("volume-3", "liver", "none"),
        ("volume-3", "tumour", "prediction"),
    ]
    assert [row["kind"] for row in lesion_rows(found)] == ["matched", "matched", "lost"]
    assert len(lits_rows(found)) == 3


def test_a_prediction_in_another_order_of_voxels_has_the_same_scores(tmp_path: Path) -> None:
    root = write_folders(tmp_path, ("volume-1",), shift=2)
    expected = evaluate(root)
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = label().shape[0] - 1
    turned = np.swapaxes(label(2, tumour=False)[::-1], 0, 2)
    write_image(root / "pred" / "volume-1.nii.gz", turned, (AFFINE @ flip)[:, [2, 1, 0, 3]])
    found = evaluate(root)
    assert repr(found.scores) == repr(expected.scores)  # NaN is not equal to itself
    (note,) = found.notes
    assert note.startswith("volume-1: the prediction was put into the reference's order of voxels")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: write_image(path, label()[1:], AFFINE), "15 x 14 x 12 and 16 x 14 x 12 voxels"),
        (
            lambda path: write_image(path, label(), AFFINE * [[2], [1], [1], [1]]),
            "1.6 x 0.7 x 2.5 and 0.8 x 0.7 x 2.5 mm",
        ),
        (lambda path: write_image(path, label() * np.float32(0.4), AFFINE), "values that are not whole"),
        (lambda path: path.write_bytes(b"not an image"), "volume-2"),
        (lambda path: write_image(path, label() * np.float32(np.nan), AFFINE), "values that are not whole"),
    ],
)
def test_a_case_that_cannot_be_scored_is_one_line_and_the_others_are_scored(
    tmp_path: Path, change: Any, words: str
) -> None:
    root = write_folders(tmp_path)
    change(root / "pred" / "volume-2.nii.gz")
    found = evaluate(root)
    assert found.names == ("volume-1", "volume-3")
    (failed,) = found.failed
    assert failed.name == "volume-2"
    assert words in failed.reason
    assert "\n" not in failed.reason
    assert "volume-2.nii.gz" in failed.reason


def test_values_without_a_class_are_noted(tmp_path: Path) -> None:
    root = write_folders(tmp_path, ("volume-1",))
    write_image(root / "pred" / "volume-1.nii.gz", label() + np.uint8(5) * (label() == 2), AFFINE)
    assert evaluate(root).notes == ("volume-1: the prediction holds values that no class has: 7",)


def test_a_comparison_pairs_cases_by_name_and_draws_patients(tmp_path: Path) -> None:
    root = write_folders(tmp_path, tuple(f"volume-{n}" for n in range(6)))
    write_folders(root / "b", tuple(f"volume-{n}" for n in range(6)), shift=2)
    (root / "b" / "pred").rename(root / "base")
    (root / "base" / "volume-0.nii.gz").unlink()
    found = evaluate(root)
    baseline = evaluate_pairs(pair_files(root / "base", root / "truth", only_common=True), SETTINGS)
    compared = compare(found, baseline, resamples=200)
    assert (compared["cases"], compared["patients"]) == (5, 5)
    liver, tumour = compared["classes"]["liver"]["dice"], compared["classes"]["tumour"]
    assert (liver["difference"], liver["low"], liver["better"]) == pytest.approx((0.1, 0.1, 5))
    assert tumour["dice"]["difference"] == pytest.approx(0.25 * 4 / 5)
    # Of five tumours four overlap by 3/5, against 1/3 in the baseline: found above one half, and not.
    assert tumour["lesion_recall"]["difference"] == pytest.approx(4 / 5)
    picture = draw_comparison(tmp_path / "c.png", found, baseline, compared)
    assert picture.read_bytes().startswith(b"\x89PNG")


class Tags(HTMLParser):
    """The tags and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.events: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self.events += [name for name, _ in attrs if name.startswith("on")]


def test_the_report_is_one_file_without_script_and_network_and_escapes_every_text(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    found = evaluate(root)
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    found = found._replace(names=(evil, *found.names[1:]), notes=(evil,))
    summary = summarise(found, resamples=50)
    summary["comparison"] = compare(found, evaluate(root), resamples=50)
    picture = draw_comparison(tmp_path / "c.png", found, evaluate(root), summary["comparison"])
    text = report_html(summary, case_rows(found), [(evil, evil)], picture, evil)
    page = Tags()
    page.feed(text)
    assert not {"script", "iframe", "object", "link", "form"} & set(page.tags)
    assert page.events == []
    assert len(page.addresses) == 1
    assert page.addresses[0].startswith("data:image/png;base64,")
    assert "default-src 'none'" in text
    assert text.count("&lt;script&gt;") >= 4
    assert "url(" not in text


def test_tables_have_empty_cells_for_what_does_not_exist_and_no_formula() -> None:
    rows = [{"case": "=HYPERLINK(1)", "dice": float("nan"), "rvd": -0.5, "lesions": None}]
    assert csv_text(rows, ["case", "dice", "rvd", "lesions"]) == "case,dice,rvd,lesions\n'=HYPERLINK(1),,-0.5,\n"
