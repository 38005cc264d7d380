"""``report.html``: what it says, that it needs no network and runs no script from data, and that a browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from medseg.inference.outputs.html import segmentation_report
from medseg.inference.outputs.html.script import SCRIPT
from tests.inference.outputs.html._results import made
from tests.io.bounded.test_html_page import EVIL, Scripts

LABELS = {0: "background", 1: "liver", 2: "tumour"}


def livers() -> np.ndarray:
    mask = np.zeros((40, 44, 30), np.uint8)
    mask[5:35, 6:36, 4:26] = 1
    mask[12:20, 14:20, 20:23] = 2
    mask[25:28, 25:28, 8:10] = 2
    return mask


def data_of(text: str) -> dict:
    return json.loads(next(content for kind, content in Scripts(text).scripts if kind == "application/json"))


def test_every_lesion_has_a_row_whose_button_goes_to_its_slice(tmp_path: Path) -> None:
    result, run = made(tmp_path, livers(), LABELS)
    text = segmentation_report(result, run)
    data = data_of(text)
    lesions = result.statistics["classes"][1]["lesions"]
    buttons = dict(re.findall(r'data-slice="(\d+)"[^>]*>(\d+)</button>', text))
    assert sorted(buttons.values()) == ["1", "2"]
    for place, number in buttons.items():
        index = lesions[int(number) - 1]["slice_index"]
        assert data["slices"][int(place)]["caption"].startswith(f"axial slice {index + 1} of 30, z = ")
        assert len(data["slices"][int(place)]["marks"]) == 1
    assert data["slices"][data["start"]]["caption"].startswith(f"axial slice {lesions[0]['slice_index'] + 1} ")
    for lesion in lesions:
        assert f"{lesion['long_diameter_mm']:.1f} x {lesion['short_diameter_mm']:.1f}" in text
    assert len(data["slices"]) == 30
    assert all(len(one["images"]) == 3 for one in data["slices"])


@pytest.mark.parametrize("codes", ["LPS", "RAI", "SAR"])
def test_captions_give_the_height_of_the_slice(tmp_path: Path, codes: str) -> None:
    result, run = made(tmp_path, livers(), LABELS, codes)
    axis = next(n for n, code in enumerate(codes) if code in "SI")
    for one in data_of(segmentation_report(result, run))["slices"]:
        index, height = re.findall(r"slice (\d+) of .*z = (-?[\d.]+) mm", one["caption"])[0]
        place = np.zeros(4)
        place[axis], place[3] = int(index) - 1, 1
        assert float(height) == pytest.approx((result.affine @ place)[2], abs=0.06)


def test_flags_facts_and_rules_are_stated(tmp_path: Path) -> None:
    result, run = made(tmp_path, livers(), LABELS, warnings=["liver reaches the image border (S)"])
    text = segmentation_report(result, run)
    for words in ("liver reaches the image border (S)", "ab" * 32, "measure 1.2", "1.00 GiB", "40 x 44 x 30 voxels",
                  "longest chord perpendicular", "Research use only"):  # fmt: skip
        assert words in text
    assert "Nothing was flagged" in segmentation_report(result, {**run, "warnings": []})


def test_an_empty_mask_and_a_bundle_without_lesions_have_a_report(tmp_path: Path) -> None:
    result, run = made(tmp_path, livers() * 0, LABELS)
    text = segmentation_report(result, run)
    assert "None was found." in text
    assert data_of(text)["slices"]
    result, run = made(tmp_path / "b", (livers() > 0).astype(np.uint8), {0: "background", 1: "liver"})
    assert "Lesions:" not in segmentation_report(result, run)


def test_the_report_loads_nothing_runs_its_own_script_alone_and_escapes_every_text(tmp_path: Path) -> None:
    labels = {0: "background", 1: f"organ {EVIL}", 2: f"tumour {EVIL}"}
    result, run = made(tmp_path, livers(), labels, warnings=[EVIL], equivalent_command=EVIL, started_at=EVIL)
    run["bundle"] = {"name": EVIL, "version": EVIL}
    run["versions"] = {EVIL: EVIL}
    text = segmentation_report(result, run)
    page = Scripts(text)
    assert [kind for kind, _ in page.scripts] == ["application/json", "text/javascript"]
    assert page.scripts[1][1] == SCRIPT
    assert not {"img", "iframe", "object", "link", "form", "base"} & set(page.tags)
    assert text.count("&lt;script&gt;") >= 8
    addresses = re.findall(r'(?:href|src)="([^"]*)"', text)
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses)
    assert not re.search(r"\son\w+=", re.sub(r"&lt;.*?&gt;", "", text))
    assert "url(" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def chromium(folder: Path, page: Path, *words: str) -> str:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here to open the report in (Debian: apt install chromium)")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run([*command, *words, page.as_uri()], capture_output=True, text=True, timeout=100, check=True)
    return done.stdout


def test_a_browser_shows_the_first_lesion_and_runs_nothing_from_data(tmp_path: Path) -> None:
    evil = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script> tumour"
    result, run = made(tmp_path, livers(), {0: "background", 1: "liver", 2: evil}, warnings=[evil])
    page = tmp_path / "report.html"
    page.write_text(segmentation_report(result, run), encoding="utf-8")
    shown = chromium(tmp_path, page, "--window-size=390,844", "--dump-dom")
    lesion = result.statistics["classes"][1]["lesions"][0]
    assert "<title>Segmentation report</title>" in shown
    assert f'id="caption">axial slice {lesion["slice_index"] + 1} of 30' in shown
    assert not re.search(r'<section id="viewer"[^>]*hidden', shown)
    assert re.search(r'<image id="picture"[^>]* href="data:image/jpeg;base64,', shown)
    assert len(re.findall(r"<line ", shown)) == 2
    assert re.search(r'<button[^>]*class="here"[^>]*>1</button>', shown)


_CLICKS = """
document.querySelector("button[data-slice]:not(.here)").click();
document.querySelectorAll("input[name=window]")[1].click();
"""


def test_a_click_on_a_lesion_goes_to_its_slice_and_windows_and_mask_can_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, run = made(tmp_path, livers(), LABELS)
    second = result.statistics["classes"][1]["lesions"][1]
    page = tmp_path / "report.html"
    for extra, shown_mask in (("", True), ("document.getElementById('show').click();", False)):
        # The page's policy allows its script as a whole: clicks that are added to it run, others would not.
        monkeypatch.setattr("medseg.inference.outputs.html.report.SCRIPT", SCRIPT + _CLICKS + extra)
        text = segmentation_report(result, run)
        page.write_text(text, encoding="utf-8")
        shown = chromium(tmp_path, page, "--dump-dom")
        caption = f"axial slice {second['slice_index'] + 1} of 30"
        assert f'id="caption">{caption}' in shown
        assert re.search(r'<button[^>]*class="here"[^>]*>2</button>', shown)
        (slice_shown,) = [one for one in data_of(text)["slices"] if one["caption"].startswith(caption)]
        assert re.findall(r'<image id="picture"[^>]* href="([^"]*)"', shown) == [slice_shown["images"][1]]
        assert ("display: none" in re.findall(r'<image id="overlay"[^>]*>', shown)[0]) != shown_mask
