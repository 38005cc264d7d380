"""MONAI-style transforms in array and dictionary form; they take and return MetaTensors.

Random transforms and worker processes: like MONAI's, they draw from a random state of their own, which is copied into
every worker. With ``torch.utils.data.DataLoader``, all workers therefore draw the *same* numbers, and samples that are
loaded at the same time get the same augmentation. Use ``monai.data.DataLoader``, which gives every worker another seed
in every epoch; ``monai.utils.set_determinism`` makes these seeds reproducible.
"""

from __future__ import annotations

from medseg.transforms import guidance, intensity, output, spatial, texture, weights
from medseg.transforms.guidance import *  # noqa: F403
from medseg.transforms.intensity import *  # noqa: F403
from medseg.transforms.output import *  # noqa: F403
from medseg.transforms.spatial import *  # noqa: F403
from medseg.transforms.texture import *  # noqa: F403
from medseg.transforms.weights import *  # noqa: F403

__all__ = [
    *guidance.__all__,
    *intensity.__all__,
    *output.__all__,
    *spatial.__all__,
    *texture.__all__,
    *weights.__all__,
]
