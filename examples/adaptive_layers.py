"""Adaptive layers in thirty lines: one partition of a synthetic CT slice, a convolution on it, and its picture.

Usage: python examples/adaptive_layers.py [PICTURE.png]
"""

from __future__ import annotations

import sys

import torch
from monai.networks.nets import BasicUNet
from torch.nn import functional as F

from medseg.datasets.phantom import chest_phantom
from medseg.layers import QuadtreeConv, SparseDownsample
from medseg.networks import adapt
from medseg.partition import Quadtree
from medseg.transforms import HUWindow


def main() -> None:
    """Prints what every layer does; writes the picture if a path is given."""
    phantom = chest_phantom(1, spacing_mm=(1.0, 1.0, 4.0))
    nodule = (phantom.label > 0).sum((0, 1)).argmax()
    ct = torch.from_numpy(phantom.image[:256, :256, nodule].T.copy()).float().flip(0)[None, None]
    image = HUWindow("lung")(ct)

    # One partition for every layer. Gradients would follow the chest wall: small bright spots stand out of their box.
    spots = F.avg_pool2d(image, 5, 1, 2) - F.avg_pool2d(image, 25, 1, 12)
    tree = Quadtree.from_scores(spots, rounds=3, budget=(0.5, 0.25, 0.125))
    conv = QuadtreeConv(2, 1, 16, rounds=3, root_kernel=3)
    features = conv(image, tree)
    share = conv.macs(tree, image.shape[2:]) / conv.dense_macs(image.shape[2:])
    print(f"QuadtreeConv: {tuple(features.shape)}, {100 * share:.0f} % of the multiply-adds of the dense stack")

    down = SparseDownsample(2, channels=16, patch=8)
    print(f"SparseDownsample: {tuple(down(features).shape)}, the best quarter of the patches in their order")

    net = BasicUNet(spatial_dims=2, in_channels=1, out_channels=2)
    net, report = adapt(net, spatial_dims=2, conv=("quadtree", {"rounds": 2}), select="conv_0.*", example=image)
    print(report)

    if len(sys.argv) > 1:
        tree.plot(image).figure.savefig(sys.argv[1], dpi=80, bbox_inches="tight")


if __name__ == "__main__":
    main()
