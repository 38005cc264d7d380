"""No patient of LiTS comes back as an external test case under another name."""

from __future__ import annotations

import pytest

from medseg.datasets.lits import refuse_shared_patients, source_of
from medseg.io.bounded.errors import DataError


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("volume-28.nii", ("LiTS", 28)),
        ("a/b/segmentation-003.nii.gz", ("LiTS", 3)),
        ("test-volume-59", ("LiTS test", 59)),
        ("liver_104_0000.nii.gz", ("MSD Task03", 104)),
        ("3Dircadb1.7", ("3D-IRCADb", 7)),
        ("3D-IRCADb-01-20.nii", ("3D-IRCADb", 20)),
        ("amos_0001.nii.gz", ("", -1)),
    ],
)
def test_names_tell_their_collection(name: str, source: tuple[str, int]) -> None:
    assert source_of(name) == source


@pytest.mark.trap("4.4-06")
@pytest.mark.parametrize(
    ("training", "external"),
    [
        ("volume-34", "3Dircadb1.7"),
        ("3Dircadb1.7", "volume-34"),
        ("volume-5", "liver_99.nii.gz"),
        ("liver_3", "test-volume-3"),
        ("liver_3", "3Dircadb1.20"),
        ("volume-7", "volume-007.nii"),
    ],
)
def test_collections_that_share_patients_are_refused(training: str, external: str) -> None:
    with pytest.raises(DataError, match="is not an external case: its patient is in the training data too"):
        refuse_shared_patients(["volume-1", training], ["amos_0001", external])


@pytest.mark.trap("4.4-06")
def test_other_cases_pass() -> None:
    refuse_shared_patients(["volume-34", "volume-35"], ["3Dircadb1.9", "test-volume-34", "volume-1", "amos_0001"])
    refuse_shared_patients(["case_a"], ["case_b"])
    with pytest.raises(DataError, match="case_a"):
        refuse_shared_patients(["case_a"], ["case_a"])
