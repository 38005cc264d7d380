"""Histograms of regions in an RGB photograph: the colours of a retina's bright disc and of what surrounds it.

The photograph comes with scikit-image; nothing is downloaded.

Usage: python examples/region_histogram_rgb.py [PICTURE.png]
"""

from __future__ import annotations

import sys

import matplotlib
import numpy as np
from skimage.data import retina
from skimage.filters import gaussian

from medseg.transforms import RegionHistogramd

REGIONS, COLOURS = ("disc", "fundus", "nothing"), ("red", "green", "blue")


def main() -> None:
    """Prints what the histograms hold; draws them if a path is given."""
    photograph = np.moveaxis(retina()[::2, ::2], -1, 0)  # channel first, 0 to 255
    green = gaussian(photograph[1].astype(float), 6)
    fundus = green > 20
    disc = green > np.quantile(green[fundus], 0.985)  # a rule for this one picture, not a detector
    sample = {"image": photograph, "regions": np.stack([disc, fundus & ~disc, np.zeros_like(disc)])}

    histogram = RegionHistogramd("image", "regions", bins=32, value_range=(0, 256))
    sample = histogram(sample)
    shares, valid = sample["image_histogram"], sample["image_histogram_valid"]
    print(f"histograms {tuple(shares.shape)}: regions x channels x bins; each sums to 1")
    print("mean colour  " + "".join(f"{colour:>7}" for colour in COLOURS))
    middles = np.arange(4, 256, 8.0)
    for region, rows, flags in zip(REGIONS, shares, valid, strict=True):
        means = [
            f"{float((row * middles).sum()):7.1f}" if ok else "      -" for row, ok in zip(rows, flags, strict=True)
        ]
        print(f"{region:<13}" + "".join(means))

    if len(sys.argv) > 1:
        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(1, 3, figsize=(12, 3.5), width_ratios=(1, 1.2, 1.2), layout="constrained")
        axes[0].imshow(np.moveaxis(photograph, 0, -1))
        axes[0].contour(disc, colors="white", linewidths=0.8)
        axes[0].axis("off")
        for axis, region, rows in zip(axes[1:], REGIONS, shares, strict=False):
            for colour, row in zip(COLOURS, rows, strict=True):
                axis.step(middles, row, where="mid", color=colour)
            axis.set(title=region, xlabel="value", ylabel="share of pixels")
        figure.savefig(sys.argv[1], dpi=80, bbox_inches="tight")


if __name__ == "__main__":
    main()
