"""The verdict on any geometry agrees with what the reader does."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medseg.geometry import apply_affine
from medseg.io.bounded.errors import DataError
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_entry
from medseg.io.ct.verdict import judge_series
from tests.io._dicom_files import write_series
from tests.io._dicom_phantom import tilted

_STEPS = st.lists(st.sampled_from([0.0, 0.7, 2.0, 2.0, 2.0, 2.0, 2.001, 4.0, 6.0, 30.0]), min_size=1, max_size=9)
_WILD = st.sampled_from([0.0, 0.0, 0.0, 0.0, 3.0, -1e3, 1e11])
_OPTIONS = {
    "--on-tilt": "tilt",
    "--on-gap": "gap",
    "--on-duplicate": "duplicate",
}


def _policy(fix: str) -> GeometryPolicy:
    words = fix.split()
    return GeometryPolicy(**{_OPTIONS[name]: value for name, value in zip(words[::2], words[1::2], strict=True)})


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=_STEPS, degrees=st.sampled_from([0.0, 0.0, 0.05, 12.0, 50.0]), push=_WILD, copies=st.booleans())
def test_the_verdict_is_what_the_reader_does(steps: list[float], degrees: float, push: float, copies: bool) -> None:
    z = np.concatenate([[0.0], np.cumsum(steps)])
    where = [(push * (k == 2), 0.0, float(height)) for k, height in enumerate(z)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        shows = np.cumsum([0, *(np.diff(z) > 0)]) if copies else range(len(where))
        write_series(folder, where, tilted(degrees), shows=[int(n) for n in shows])
        listing = list_series(folder)
        (entry,) = listing.series
        verdict = judge_series(entry)
        if verdict.status == "ok":
            (series,) = read_entry(listing, entry)
            assert series.repairs == ()
            lps = apply_affine(series.affine_ras, [[0, 0, k] for k in range(len(where))]) * [-1, -1, 1]
            assert lps == pytest.approx(np.array(where), abs=0.11)
            return
        with pytest.raises(DataError):
            read_entry(listing, entry)
        policy = _policy(verdict.fix) if verdict.fix else GeometryPolicy("shear", "resample", "keep-lowest")
        if verdict.status == "repairable":
            for series in read_entry(listing, entry, policy=policy):
                assert series.repairs
                assert len(series.source_sop_instance_uids) == series.array.shape[2]
        else:
            for gap in ("resample", "split"):
                with pytest.raises(DataError):
                    read_entry(listing, entry, policy=GeometryPolicy("shear", gap, "keep-lowest"))
