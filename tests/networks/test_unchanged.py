"""State dicts and results of all networks stay as recorded; ``python -m tests.networks.test_unchanged`` records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medseg.networks import list_networks
from tests.networks._formula import described

RECORD = Path(__file__).with_name("recorded_networks.json")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", list_networks())
def test_state_dict_and_output_are_the_recorded_ones(name: str, dims: int) -> None:
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))[f"{name} {dims}-D"]
    found = described(name, dims)
    assert found["state"] == recorded["state"]
    assert list(found["state"]) == list(recorded["state"]), "the order of the keys"
    assert found["shape"] == recorded["shape"]
    # Both sides are rounded to 1e-5, so a value between two steps may fall to either.
    assert np.isfinite(found["sum_of_magnitudes"])
    assert np.ravel(found["values"]) == pytest.approx(np.ravel(recorded["values"]), rel=0, abs=1.1e-5)
    assert found["sum_of_magnitudes"] == pytest.approx(recorded["sum_of_magnitudes"], rel=1e-6, abs=2e-3)


if __name__ == "__main__":
    record = {f"{name} {dims}-D": described(name, dims) for name in list_networks() for dims in (2, 3)}
    RECORD.write_text(json.dumps(record) + "\n", encoding="utf-8")
