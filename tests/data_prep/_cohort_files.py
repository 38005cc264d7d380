"""Small synthetic cohorts, and jobs that end in every way; light, because worker processes import this module."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

SLICES = 5


def make_cohort(root: Path, count: int) -> list[str]:
    """Write ``count`` CT series, two to a patient folder; the same arguments give the same bytes. Returns the UIDs."""
    from pydicom.dataset import FileDataset

    from tests.io._dicom_files import positions, write_series

    uids = [f"1.2.826.0.1.{number + 1}" for number in range(count)]
    for number, uid in enumerate(uids):

        def change(k: int, data: FileDataset, uid: str = uid) -> None:
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"

        folder = root / f"patient-{number // 2}" / f"scan-{number}"
        write_series(folder, positions(SLICES), change=change, SeriesInstanceUID=uid)
    return uids


def tree_hash(folder: Path) -> str:
    """Digest of names and contents of all files under a folder, by a way of its own."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file: equal only if nobody wrote the file anew."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def double(number: int) -> dict[str, Any]:
    return {"value": 2 * number, "pid": os.getpid()}


def fail(text: str) -> dict[str, Any]:
    raise ValueError(text)


def end_by(number: int) -> dict[str, Any]:
    os.kill(os.getpid(), number)
    time.sleep(60)
    return {}


def leave(code: int) -> dict[str, Any]:
    os._exit(code)


def sleep(seconds: float, witness: str) -> dict[str, Any]:
    Path(witness).write_text(str(os.getpid()))
    time.sleep(seconds)
    return {}


def allocate(megabytes: int) -> dict[str, Any]:
    return {"bytes": len(bytearray(megabytes << 20))}


def loaded_after(case: dict[str, Any]) -> dict[str, Any]:
    """Which heavy packages a worker has loaded after a case, with the parts for annotated cases too."""
    import data_prep._lidc.output
    import medseg.datasets.lidc
    from data_prep._cohort.case_job import run_case

    assert data_prep._lidc.output and medseg.datasets.lidc
    status = run_case(**case)["status"]
    return {"status": status, "loaded": sorted({"torch", "monai", "itk", "matplotlib"} & sys.modules.keys())}


def slow_case(**case: Any) -> dict[str, Any]:
    """A case that takes its time, so that a test can strike while it runs."""
    from data_prep._cohort.case_job import run_case

    time.sleep(0.4)
    return run_case(**case)


def deadly_case(**case: Any) -> dict[str, Any]:
    """A case whose worker is killed half way: series .2 whenever it is tried, series .3 the first time."""
    from data_prep._cohort.case_job import run_case

    died = Path(case["target"]).parents[1] / ".cohort" / "died"
    if case["target"].endswith(".2") or (case["target"].endswith(".3") and not died.exists()):
        if case["target"].endswith(".3"):
            died.touch()
        (Path(case["staging"]) / "case-half" / "x").mkdir(parents=True, exist_ok=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return run_case(**case)


def very_slow_case(**_: Any) -> dict[str, Any]:
    """A case that outlasts every test."""
    time.sleep(600)
    return {}
