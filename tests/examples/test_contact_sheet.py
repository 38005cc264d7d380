"""The contact sheet: its parts on a synthetic volume, and the whole picture of a real CT."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import medseg.transforms
from examples.contact_sheet import Case, Panel, call, draw, grid_lines, load_case, main, panels
from medseg.io.volumes.nifti import write_nifti

RAS = np.array([[2.0, 0, 0, -60], [0, 2.5, 0, -70], [0, 0, 3, 10], [0, 0, 0, 1]])
SHAPE = (60, 52, 7)
LIVER, SPLEEN = 5, 1


def body_and_organs() -> tuple[np.ndarray, np.ndarray]:
    """A cylinder of fat with two organs on its sides, in RAS: the liver on the right is at high x."""
    x, y, z = np.indices(SHAPE)
    noise = np.random.default_rng(0).normal(0, 12, SHAPE)
    hu = np.where(((x - 30) / 25) ** 2 + ((y - 26) / 20) ** 2 <= 1, -90 + noise, -1000)
    label = np.zeros(SHAPE, np.uint8)
    label[(((x - 42) / 10) ** 2 + ((y - 28) / 13) ** 2 <= 1) & (z > 0)] = LIVER
    label[(((x - 17) / 6) ** 2 + ((y - 22) / 8) ** 2 <= 1) & (z > 1)] = SPLEEN
    label[:, :, 4][(x[..., 0] - 31) ** 2 + (y[..., 0] - 28) ** 2 <= 4] = LIVER  # the slice with most of it
    return np.where(label > 0, 110 + noise, hu).astype(np.int16), label


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("ct")
    hu, label = body_and_organs()
    flipped = RAS @ np.diag([1.0, -1, 1, 1])
    flipped[1, 3] += 2.5 * (SHAPE[1] - 1)
    image = write_nifti(folder / "ct.nii.gz", hu, RAS)
    return image, write_nifti(folder / "label.nii.gz", label[:, ::-1], flipped)


@pytest.fixture(scope="module")
def case(files: tuple[Path, Path]) -> Case:
    with pytest.warns(UserWarning, match="stored in another order"):
        return load_case(*files, target=LIVER)


@pytest.fixture(scope="module")
def drawn(case: Case) -> list[Panel]:
    return panels(case)


def test_the_slice_lies_as_it_is_looked_at(case: Case) -> None:
    label = np.asarray(case.label[0])
    liver, spleen = (np.argwhere(label == value).mean(0) for value in (LIVER, SPLEEN))
    assert liver[0] < label.shape[0] / 2 < spleen[0], "the patient's right is on the viewer's left"
    assert liver[1] < spleen[1], "the front is above"
    assert np.median(np.asarray(case.image[0])[label == LIVER]) == pytest.approx(110, abs=5)


def test_the_slice_with_most_of_the_target_is_cut_to_the_body(case: Case) -> None:
    _, label = body_and_organs()
    assert int((case.label == LIVER).sum()) == (label[..., 4] == LIVER).sum()
    body = np.asarray(case.image[0]) > -300
    assert body.any(1).sum() == 51 and body.any(0).sum() == 41
    assert case.image.shape[1:] == (60, 52)  # less air around it than the margin
    assert case.image.affine[2, 3] == 10 + 4 * 3


def test_a_slice_can_be_chosen_and_must_be_there(files: tuple[Path, Path]) -> None:
    assert not (load_case(*files, target=LIVER, position=1).label == SPLEEN).any()
    with pytest.raises(ValueError, match="--slice is 7, expected 0 to 6"):
        load_case(*files, target=LIVER, position=7)


def test_a_title_is_the_call() -> None:
    title, transform = call(medseg.transforms.GuideMap, "gauss", sigma=3.0, unit="mm")
    assert title == "GuideMap('gauss', sigma=3.0, unit='mm')"
    assert (transform.kind, transform.sigma, transform.unit) == ("gauss", 3.0, "mm")


def test_every_panel_shows_the_grid_of_the_slice(case: Case, drawn: list[Panel]) -> None:
    assert len(drawn) == 32
    for panel in drawn:
        assert panel.values.shape == case.image.shape[1:]
        assert np.isfinite(panel.values).all()
        assert panel.values.std() > 0, f"{panel.title} is blank"


def test_the_sheet_shows_every_kind_of_map(drawn: list[Panel]) -> None:
    calls = [
        ast.parse(p.title.partition("[")[0].removesuffix(".max(0)"), mode="eval").body for p in drawn if "(" in p.title
    ]
    shown = {call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}
    assert shown == {
        "BorderWeightMap", "Gabor", "GeodesicDistance", "GuideMap", "LBP", "LocalGLCM", "LocalHistogram",
        "LocalStatistics", "MultiWindow", "RandElasticDeformd", "SimulatePrompts",
    }  # fmt: skip
    guides = {p.title.split("'")[1] for p in drawn if p.title.startswith("GuideMap")}
    assert guides == {"gauss", "disc", "ellipse", "box", "edt", "geodesic", "exp_geodesic"}


def test_clicks_lie_where_their_colour_says(case: Case, drawn: list[Panel]) -> None:
    clicks, target = drawn[0].prompts, np.asarray(case.label[0]) == LIVER
    assert clicks is not None and set(clicks[:, 0]) == {0, 1}
    for kind, x, y, *_ in clicks.astype(int):
        assert target[x, y] == bool(kind)


def test_outline_clicks_and_grid_move_with_the_image(drawn: list[Panel]) -> None:
    before, after, back = drawn[-3:]
    assert np.abs(before.values - after.values).mean() > 0.02
    assert np.abs(before.values - back.values).mean() < 0.5 * np.abs(before.values - after.values).mean()
    for panel in (before, after, back):
        inside = panel.prompts[panel.prompts[:, 0] == 1, 1:3].round().astype(int)
        assert panel.outline[tuple(inside.T)].all()
    moved = [np.abs(b - a).max() for a, b in zip(before.lines, after.lines, strict=True)]
    assert min(moved) > 0.1
    np.testing.assert_allclose(back.prompts, before.prompts, atol=0.05)


def test_grid_lines_run_through_the_image() -> None:
    lines = grid_lines((40, 70), every=32)
    assert [line.shape for line in lines] == [(40, 2), (40, 2), (70, 2)]
    assert [set(line[:, axis]) for line, axis in zip(lines, (1, 1, 0), strict=True)] == [{16}, {48}, {16}]


def test_panels_keep_the_proportions_of_the_body(case: Case, drawn: list[Panel]) -> None:
    figure = draw(drawn[:6], case.image)
    box = figure.axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx(60 * 2.0 / (52 * 2.5), rel=0.05)
    assert len(figure.axes) == 6
    top, below = figure.axes[0].get_position(), figure.axes[4].get_position()
    assert top.y0 > below.y1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "MEDSEG_DATA is not set, expected the folder of the public data; or give --image, --label"),
        (["--image", "a.nii.gz"], "one of --image and --label is given, expected both or none"),
        (["--image", "none.nii", "--label", "none.nii"], "none.nii"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MEDSEG_DATA", raising=False)
    assert main(["--out", str(tmp_path / "sheet.png"), *words]) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and message in text and text.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_label_without_the_target_is_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="holds no voxel of value 9, expected the target; choose another --target"):
        load_case(*files, target=9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*stored in another order")
def test_the_sheet_of_the_real_ct_fits_on_a_page(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    root = real_data("abdomen_totalseg")
    pair = root / "example_ct_dicom", root / "example_seg_dicom.nii.gz"
    case = load_case(*pair, target=LIVER)
    label, hu = np.asarray(case.label[0]), np.asarray(case.image[0])
    assert np.argwhere(label == LIVER).mean(0)[0] < label.shape[0] / 2
    assert 50 < np.median(hu[label == LIVER]) < 180
    picture = tmp_path / "sheet.png"
    assert main(["--out", str(picture), "--image", str(pair[0]), "--label", str(pair[1])]) == 0
    assert picture.stat().st_size < 1.5e6
    with Image.open(picture) as opened:
        assert opened.width == 1200
