"""Networks by paper, all in one registry; the tool that makes given networks adaptive; how to plug layers into one."""

from __future__ import annotations

from medseg.networks.adapt import adapt
from medseg.networks.adapt_report import AdaptReport, AdaptRow
from medseg.networks.adaptive_unet import AdaptiveUNet
from medseg.networks.ahnet import AHNet
from medseg.networks.concat_guided_net import ConcatGuidedNet
from medseg.networks.danet import DANet
from medseg.networks.deepigeos import PNet, RNet, refinement_input
from medseg.networks.guided_net import GuidedNet
from medseg.networks.guided_unet import GuidedUNet
from medseg.networks.lidc_cnn import LIDCNet
from medseg.networks.lraspp import LRASPP
from medseg.networks.mcgcn import MCGCN
from medseg.networks.mobilenet import MobileNet
from medseg.networks.mobilenet_unet import MobileNetUNet
from medseg.networks.mobilenet_v1 import MobileNetV1
from medseg.networks.mobilenet_v2 import MobileNetV2
from medseg.networks.mobilenet_v3 import MobileNetV3
from medseg.networks.planned import PlannedSequential, run
from medseg.networks.plug_in import PlugIn, check_image
from medseg.networks.registry import create, list_networks, register
from medseg.networks.resnet import ResNet
from medseg.networks.resnet_weights import LoadedWeights, load_resnet
from medseg.networks.slice_triplets import slice_triplets
from medseg.networks.unet3d2016 import UNet3D2016
from medseg.networks.unet2015 import UNet2015
from medseg.networks.vnet import VNet
from medseg.networks.vnet_monai import MonaiVNet

__all__ = [
    "LRASPP",
    "MCGCN",
    "AHNet",
    "AdaptReport",
    "AdaptRow",
    "AdaptiveUNet",
    "ConcatGuidedNet",
    "DANet",
    "GuidedNet",
    "GuidedUNet",
    "LIDCNet",
    "LoadedWeights",
    "MobileNet",
    "MobileNetUNet",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "MonaiVNet",
    "PNet",
    "PlannedSequential",
    "PlugIn",
    "RNet",
    "ResNet",
    "UNet3D2016",
    "UNet2015",
    "VNet",
    "adapt",
    "check_image",
    "create",
    "list_networks",
    "load_resnet",
    "refinement_input",
    "register",
    "run",
    "slice_triplets",
]
