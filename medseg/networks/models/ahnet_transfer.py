"""Transfers weights of the 2-D network for slice triplets to the encoder of the anisotropic hybrid network."""

from __future__ import annotations

import torch

from medseg.networks.models.mcgcn import MCGCN
from medseg.networks.parts.resnet import ResNet

__all__ = ["transfer_encoder"]

_STEM = "conv1.weight"


def transfer_encoder(encoder: ResNet, parent: MCGCN) -> list[str]:
    """Copies the weights and statistics of the 2-D parent into an encoder that works slice by slice.

    A k x k kernel becomes a k x k x 1 kernel. In the first layer, the three channels of a slice triplet
    (`slice_triplets`) become the extent 3 of the kernel across slices.

    Args:
        encoder: encoder for volumes, with ``flat=True`` in 3-D.
        parent: network that was trained on triplets with the same number of channels as the volume.

    Returns:
        The keys of the parent, all of which were transferred.

    Raises:
        ValueError: if the networks do not match; then nothing is transferred.
    """
    if parent.project is not None or parent.encoder.plug.spatial_dims != 2 or encoder.plug.spatial_dims != 3:
        raise ValueError(
            f"transfer_from_2d: the parent has project={parent.project is not None} and is "
            f"{parent.encoder.plug.spatial_dims}-D, the child is {encoder.plug.spatial_dims}-D; expected a 2-D MCGCN "
            "with project=False and a 3-D AHNet"
        )
    if parent.in_channels != 3 * encoder.in_channels:
        raise ValueError(
            f"transfer_from_2d: the parent has {parent.in_channels} channels; expected {3 * encoder.in_channels}: "
            f"three slices of each of the volume's {encoder.in_channels} channels"
        )
    if parent.encoder.plug.kinds != encoder.plug.kinds:
        raise ValueError(
            f"transfer_from_2d: the parent halves by {'-'.join(parent.encoder.plug.kinds)}, the child by "
            f"{'-'.join(encoder.plug.kinds)}; expected the same argument down"
        )
    state, own = parent.encoder.state_dict(), encoder.state_dict()
    grown = {key: _grown(key, value, encoder.in_channels) for key, value in state.items()}
    wrong = [key for key in own if key not in grown or own[key].shape != grown[key].shape]
    wrong += [key for key in grown if key not in own]
    if wrong:
        raise ValueError(
            f"transfer_from_2d: {wrong[0]!r} differs between parent and child ({len(wrong)} in all); expected the same "
            "layers, width and norm, and a parent with conv='plain'"
        )
    encoder.load_state_dict(grown)
    return list(grown)


def _grown(key: str, value: torch.Tensor, channels: int) -> torch.Tensor:
    if key == _STEM:
        return value.unflatten(1, (channels, 3)).permute(0, 1, 3, 4, 2)
    return value.unsqueeze(-1) if value.ndim == 4 else value
