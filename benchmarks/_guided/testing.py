"""Tests a trained net on whole cases: tumour Dice per case under each of the net's test protocols."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label

from benchmarks._guided.cases import LIVER, TUMOUR
from benchmarks._guided.guidance import objects
from benchmarks._guided.prepared import Prepared, crop_around, slices_of
from benchmarks._guided.rows import Net, Trial
from benchmarks._guided.training import Trained, run_net
from medseg.metrics import dice_score

Mask = NDArray[np.bool_]


def score_case(trained: Trained, net: Net, trial: Trial, case: Prepared) -> float:
    """Tumour Dice of one case."""
    found = predict(trained, net, trial, case)
    if trial.in_range:
        found &= in_range(case)[:, None, None]
    return dice_score(found, (case.label == TUMOUR).numpy())


@torch.no_grad()
def predict(trained: Trained, net: Net, trial: Trial, case: Prepared) -> Mask:
    """The tumour ``[Z, H, W]`` that a net finds in the box of the true liver.

    Only the largest connected part of the liver (with its tumours) that the net finds is kept; tumour outside of it is
    dropped.
    """
    organ = case.label >= LIVER
    numbers = organ.flatten(1).any(1).nonzero()[:, 0].tolist()
    rows, columns = crop_around(organ)
    given = case.given["oracle" if trial.given == "oracle" else "middle"]
    batch = slices_of(case, numbers, (rows, columns), given)
    guided = torch.full((len(numbers),), trial.given != "none")
    classes = run_net(trained.module, net, batch, trained.scale, guided).argmax(1).numpy()
    found = np.zeros(case.label.shape, bool)
    inside = largest(classes >= LIVER) & (classes == TUMOUR)
    found[np.ix_(numbers, range(rows.start, rows.stop), range(columns.start, columns.stop))] = inside
    return found


def in_range(case: Prepared) -> Mask:
    """Slices ``[Z]`` that a tumour reaches over."""
    tumour = (case.label == TUMOUR).numpy().transpose(1, 2, 0)
    found = np.zeros(tumour.shape[2], bool)
    for item in objects(case.hu.numpy().transpose(1, 2, 0), tumour):
        found[item.slices] = True
    return found


def largest(mask: Mask) -> Mask:
    """The largest connected part of a mask (voxels that share a face are connected)."""
    parts, count = label(mask)
    if not count:
        return mask
    return np.asarray(parts == 1 + np.bincount(parts.ravel())[1:].argmax())
