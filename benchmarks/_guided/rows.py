"""The nets of the study, which differ in their guidance alone, and the ways in which each is tested."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from benchmarks._guided.guidance import BINS
from medseg.networks import create
from medseg.ops.local_glcm import FEATURES

CHANNELS = (8, 16, 32, 64)
HEAD = {"bins": BINS, "widths": (64, 64), "dropout": 0.2}
TEXTURE = len(FEATURES) + 1


class Net(NamedTuple):
    """A net of the study.

    Attributes:
        name: in the tables.
        density: whether it reads histograms of liver and tumour.
        texture: whether it reads features of the tumour's grey-level co-occurrence matrix.
        spatial: whether it reads a guide map.
        present: probability that a training sample comes with its guidance.
    """

    name: str
    density: bool = False
    texture: bool = False
    spatial: bool = False
    present: float = 1.0

    @property
    def guided(self) -> bool:
        """True if it reads any guidance."""
        return self.density or self.texture or self.spatial


PLAIN = Net("U-Net")
NETS = (
    PLAIN,
    Net("density", density=True),
    Net("texture", texture=True),
    Net("spatial", spatial=True),
    Net("both", density=True, spatial=True),
    Net("random", density=True, spatial=True, present=0.5),
)


class Trial(NamedTuple):
    """A way to test a net.

    Attributes:
        name: in the tables.
        given: "none", "middle" (a user's outline of each tumour on its middle slice, and its range) or "oracle" (the
            true tumour of every slice).
        in_range: whether what is found outside of the tumours' true ranges of slices is dropped.
    """

    name: str
    given: str = "middle"
    in_range: bool = False


def trials_of(net: Net) -> tuple[Trial, ...]:
    """The ways in which a net is tested, the main one first."""
    if not net.guided:
        return Trial("", "none"), Trial("known range", "none", in_range=True)
    if net.present < 1:
        return Trial("without", "none"), Trial("with")
    oracle = (Trial("oracle", "oracle"),) if net.density or net.texture else ()
    return (Trial(""), *oracle)


def row_name(net: Net, trial: Trial) -> str:
    """Name of a row of the tables."""
    return f"{net.name}, {trial.name}" if trial.name else net.name


def build(net: Net) -> nn.Module:
    """The net, untrained: the same trunk for all; branches start as the identity."""
    head: Any = ("fc", {**HEAD, "texture": TEXTURE if net.texture else 0}) if net.density or net.texture else None
    found: nn.Module = create(
        "guided_unet", in_channels=3, out_channels=3, channels=CHANNELS, appearance=head,
        spatial="linear" if net.spatial else None,
    )  # fmt: skip
    return found
