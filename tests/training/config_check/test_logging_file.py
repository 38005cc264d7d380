"""Logging files: plain handlers with literal arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from medseg.training.config_check.findings import RefusedError
from medseg.training.config_check.logging_file import check_logging_file

ROOT = Path(__file__).resolve().parents[3]


def test_the_shipped_ones_pass() -> None:
    files = sorted((ROOT / "bundles").glob("*/configs/logging.conf"))
    assert files
    for file in files:
        check_logging_file(file)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[handler_a]\nclass=StreamHandler\nargs=(open('x', 'w'),)", "has args="),
        ("[handler_a]\nclass=StreamHandler\nargs=(os.environ,)", "has args="),
        ("[handler_a]\nclass=StreamHandler\nkwargs={'stream': __import__('os')}", "has kwargs="),
        ("[handler_a]\nclass=handlers.SMTPHandler", "has class='handlers.SMTPHandler' in [handler_a]; expected one of"),
        ("[handler_a]\nclass=__import__('os').system", "has class="),
        ("[formatter_a]\nclass=os.system", "has class='os.system' in [formatter_a]"),
        ("no section", "cannot be read as a logging configuration"),
    ],
)
def test_others_are_refused(text: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "logging.conf"
    path.write_text(text)
    with pytest.raises(RefusedError) as caught:
        check_logging_file(path)
    assert str(caught.value).startswith(line)
