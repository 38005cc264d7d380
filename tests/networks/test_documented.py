"""The table of networks in the documentation has a row for every name, with the parameters that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medseg.networks import create, list_networks
from tests.networks._counting import count_parameters, on_meta

TEXT = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
ROWS = {
    name: (tuple(map(int, shape.split(", "))), int(count.replace(",", "")))
    for name, shape, count in re.findall(r"^\| `(\w+)` \| .* \| (\d, \d+, \d+) \| ([\d,]+) \|$", TEXT, re.MULTILINE)
}


def test_every_network_has_a_row() -> None:
    assert list(ROWS) == list_networks()


@pytest.mark.parametrize("name", ROWS)
def test_the_parameters_are_counted(name: str) -> None:
    (dims, before, after), count = ROWS[name]
    net = on_meta(lambda: create(name, spatial_dims=dims, in_channels=before, out_channels=after))
    assert count_parameters(net) == count
