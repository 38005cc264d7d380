"""Draws the blocks of a partition over its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from medseg.partition.quadtree import Quadtree


def plot_blocks(
    tree: Quadtree,
    image: Tensor | None = None,
    sample: int = 0,
    channel: int = 0,
    axis: int = 0,
    position: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws the leaves of one sample, coloured by their round, those kept in the last round on top.

    Args:
        tree: the partition.
        image: ``[B, C, *S]``, drawn in grey below; default: none.
        sample: which sample of the batch.
        channel: which channel of the image.
        axis: in 3-D, the spatial axis that the plane is perpendicular to.
        position: in 3-D, voxel of the plane along that axis; default: the middle.
        ax: matplotlib axes to draw on; default: new ones.

    Returns:
        The axes; ``ax.figure.savefig(path)`` writes the picture.

    Raises:
        ValueError: for a sample, axis or position that is not there, or an image of another size.
    """
    import matplotlib.pyplot as plt
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    if not 0 <= sample < tree.plan.batch:
        raise ValueError(f"sample is {sample}; expected 0 to {tree.plan.batch - 1}")
    if image is not None and tuple(image.shape[2:]) != tree.size:
        raise ValueError(f"image has size {list(image.shape[2:])}; expected {list(tree.size)}")
    axes, position = _plane(tree.size, axis, position)
    if ax is None:
        ax = plt.subplots(figsize=(6, 6 * tree.size[axes[0]] / tree.size[axes[1]]))[1]
    if image is not None:
        plane = image[sample, channel].detach().float().cpu().numpy()
        ax.imshow(plane if plane.ndim == 2 else plane.take(position, axis), cmap="gray", interpolation="nearest")
    colours = plt.get_cmap("viridis")(np.linspace(0.25, 1.0, tree.rounds + 1))
    boxes, rounds = (t.numpy() for t in tree.leaves())
    groups = [(boxes[rounds == r], colours[r - 1], 0.6) for r in range(1, tree.rounds + 1)]
    groups.append((tree.blocks(tree.rounds).numpy(), colours[tree.rounds], 1.2))
    for found, colour, width in groups:
        corners = _corners(found[found[:, 0] == sample], len(tree.size), axes, axis, position)
        patches = [Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0) for y0, y1, x0, x1 in corners]
        ax.add_collection(PatchCollection(patches, facecolor="none", edgecolor=colour, linewidth=width))
    ax.set_xlim(-0.5, tree.size[axes[1]] - 0.5)
    ax.set_ylim(tree.size[axes[0]] - 0.5, -0.5)
    ax.set_aspect(
        "equal" if tree.settings.spacing is None else tree.settings.spacing[axes[0]] / tree.settings.spacing[axes[1]]
    )
    ax.set_title("active " + ", ".join(f"{f:.2f}" for f in tree.active_fraction))
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
