from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from data_prep import check, dataset, from_dicom, to_dicom
from data_prep._options.command_line import OneLineParser
from medseg.io.bounded.remedies import OWNERS, fit_remedies
from tests.io._dicom_files import positions, write_series
from tests.io._dicom_phantom import write_phantom


def test_an_option_that_the_command_has_is_left_as_it_is() -> None:
    assert fit_remedies("use --on-gap split, or raise --max-gap", ["--on-gap", "--max-gap"]) == (
        "use --on-gap split, or raise --max-gap"
    )


def test_an_option_of_another_command_gets_its_name_once() -> None:
    text = fit_remedies("use --on-gap split, or raise --max-gap; add --overwrite", ["--max-gap"])
    assert text == "use data_prep.convert --on-gap split, or raise --max-gap; add --overwrite"
    assert fit_remedies(text, ["--max-gap"]) == text


def test_a_renamed_option_is_written_as_the_command_has_it() -> None:
    names = {"--series UID": "--series-uid UID"}
    assert fit_remedies("--series UID#N or --series DIR", ["--series"], names) == "--series-uid UID#N or --series DIR"


def test_parts_of_names_are_not_options() -> None:
    assert fit_remedies("/data/a--series/b.dcm: bad", []) == "/data/a--series/b.dcm: bad"


@pytest.mark.parametrize("option", OWNERS)
def test_every_owner_has_its_options(option: str) -> None:
    parser = import_module(OWNERS[option])._parser()
    assert isinstance(parser, OneLineParser)
    assert option in parser.options()


class TestCommandsWithoutTheOption:
    def test_dataset_and_check_point_to_convert(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_phantom(tmp_path / "ct", [2.0 * k for k in range(4)], 15.0)
        (tmp_path / "label.nii").write_bytes(b"x")
        pair = ["--pair", str(tmp_path / "ct"), str(tmp_path / "label.nii")]
        assert dataset.main([*pair, "--out", str(tmp_path / "out")]) == 3
        assert "straighten the slices with data_prep.convert --on-tilt shear" in capsys.readouterr().err
        check.main([*pair, "--json"])
        assert "straighten the slices with data_prep.convert --on-tilt shear" in capsys.readouterr().out

    def test_to_dicom_and_from_dicom_name_their_own_option_for_a_series(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for number in (1, 2):
            write_series(tmp_path / "ct" / str(number), positions(3), SeriesInstanceUID=f"1.2.3.{number}")
        (tmp_path / "m.nii").write_bytes(b"x")
        words = ["--mask", str(tmp_path / "m.nii"), "--series", str(tmp_path / "ct"), "--out", str(tmp_path / "o.dcm")]
        assert to_dicom.main([*words, "--type", "seg"]) == 3
        assert "choose one with --series-uid UID" in capsys.readouterr().err
        words = [str(tmp_path / "m.nii"), "--series", str(tmp_path / "ct"), "--out", str(tmp_path / "o")]
        assert from_dicom.main(words) == 3
        assert "choose one with --series-uid UID" in capsys.readouterr().err
