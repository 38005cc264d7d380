"""Draws the blocks of a partition over its image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class BlockDrawing(NamedTuple):
    """What is drawn of a partition. Boxes are int64 ``[N, 1 + 2 d]``: sample, first voxel and end along each axis.

    Attributes:
        size: spatial size of the image in voxels, 2 or 3 axes.
        spacing: side of a voxel along each axis, such as mm; None for cubes.
        batch: number of samples.
        leaves: boxes that tile the images exactly once.
        leaf_rounds: the round of each leaf, int64 ``[N]``, 1 to the number of rounds.
        kept: boxes of the blocks that the last round keeps.
        active_fraction: share of the voxels inside every round's set, one number a round, for the title.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...] | None
    batch: int
    leaves: Tensor
    leaf_rounds: Tensor
    kept: Tensor
    active_fraction: Sequence[float]


def plot_blocks(
    drawing: BlockDrawing,
    image: Tensor | None = None,
    sample: int = 0,
    channel: int = 0,
    axis: int = 0,
    position: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws the leaves of one sample, coloured by their round, and on top the blocks that the last round keeps.

    Args:
        drawing: the blocks; `Quadtree.plot` collects them from a partition.
        image: ``[B, C, *S]``, drawn in grey below the blocks; default: none.
        sample: which sample of the batch.
        channel: which channel of the image.
        axis: in 3-D, the spatial axis that the plane is perpendicular to.
        position: in 3-D, voxel of the plane along that axis; default: the middle.
        ax: matplotlib axes to draw on; default: new ones.

    Returns:
        The axes; ``ax.figure.savefig(path)`` writes the picture.

    Raises:
        ValueError: for a sample, axis or position that does not exist, or an image of another size.
    """
    import matplotlib.pyplot as plt
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    size, rounds = drawing.size, len(drawing.active_fraction)
    if not 0 <= sample < drawing.batch:
        raise ValueError(f"sample is {sample}; expected 0 to {drawing.batch - 1}")
    if image is not None and tuple(image.shape[2:]) != size:
        raise ValueError(f"image has size {list(image.shape[2:])}; expected {list(size)}")
    axes, position = _plane(size, axis, position)
    if ax is None:
        ax = plt.subplots(figsize=(6, 6 * size[axes[0]] / size[axes[1]]))[1]
    if image is not None:
        plane = image[sample, channel].detach().float().cpu().numpy()
        ax.imshow(plane if plane.ndim == 2 else plane.take(position, axis), cmap="gray", interpolation="nearest")
    colours = plt.get_cmap("viridis")(np.linspace(0.25, 1.0, rounds + 1))
    leaves, leaf_rounds = drawing.leaves.numpy(), drawing.leaf_rounds.numpy()
    groups = [(leaves[leaf_rounds == r], colours[r - 1], 0.6) for r in range(1, rounds + 1)]
    groups.append((drawing.kept.numpy(), colours[rounds], 1.2))
    for found, colour, width in groups:
        corners = _corners(found[found[:, 0] == sample], len(size), axes, axis, position)
        patches = [Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0) for y0, y1, x0, x1 in corners]
        ax.add_collection(PatchCollection(patches, facecolor="none", edgecolor=colour, linewidth=width))
    ax.set_xlim(-0.5, size[axes[1]] - 0.5)
    ax.set_ylim(size[axes[0]] - 0.5, -0.5)
    spacing = drawing.spacing
    ax.set_aspect("equal" if spacing is None else spacing[axes[0]] / spacing[axes[1]])
    ax.set_title("active " + ", ".join(f"{f:.2f}" for f in drawing.active_fraction))
    return ax


def _plane(size: tuple[int, ...], axis: int, position: int | None) -> tuple[list[int], int]:
    """The two axes of the picture, and the position of the plane along the third."""
    if len(size) == 2:
        return [0, 1], 0
    if not 0 <= axis < 3:
        raise ValueError(f"axis is {axis}; expected 0, 1 or 2")
    position = size[axis] // 2 if position is None else position
    if not 0 <= position < size[axis]:
        raise ValueError(f"position is {position}; expected 0 to {size[axis] - 1} along axis {axis}")
    return [a for a in range(3) if a != axis], position


def _corners(boxes: np.ndarray, dims: int, axes: list[int], axis: int, position: int) -> np.ndarray:
    """``[N, 4]``: begin and end along both axes of the picture, of the boxes that the plane cuts."""
    first, last = boxes[:, 1 : 1 + dims], boxes[:, 1 + dims :]
    if dims == 3:
        cut = (first[:, axis] <= position) & (position < last[:, axis])
        first, last = first[cut], last[cut]
    return np.stack([first[:, axes[0]], last[:, axes[0]], first[:, axes[1]], last[:, axes[1]]], 1)
