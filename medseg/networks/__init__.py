"""Networks of papers in one registry, guidance for any network, and the tool that makes any network adaptive."""

from __future__ import annotations

from medseg.layers.guidance import Guidance
from medseg.networks.adapt.apply import adapt
from medseg.networks.adapt.report import AdaptReport, AdaptRow
from medseg.networks.guided.concat_guided_net import ConcatGuidedNet
from medseg.networks.guided.guided_net import GuidedNet
from medseg.networks.guided.guided_unet import GuidedUNet
from medseg.networks.models.adaptive_unet import AdaptiveUNet
from medseg.networks.models.ahnet import AHNet
from medseg.networks.models.danet import DANet
from medseg.networks.models.deepigeos import PNet, RNet, refinement_input
from medseg.networks.models.lidc_cnn import LIDCNet
from medseg.networks.models.lraspp import LRASPP
from medseg.networks.models.mcgcn import MCGCN
from medseg.networks.models.mobilenet_unet import MobileNetUNet
from medseg.networks.models.mobilenet_v1 import MobileNetV1
from medseg.networks.models.mobilenet_v2 import MobileNetV2
from medseg.networks.models.mobilenet_v3 import MobileNetV3
from medseg.networks.models.unet3d2016 import UNet3D2016
from medseg.networks.models.unet2015 import UNet2015
from medseg.networks.models.vnet import VNet
from medseg.networks.models.vnet_monai import MonaiVNet
from medseg.networks.parts.image_check import check_image
from medseg.networks.parts.mobilenet_body import MobileNet
from medseg.networks.parts.planned import PlannedSequential
from medseg.networks.parts.plug_in import PlugIn
from medseg.networks.parts.resnet import ResNet
from medseg.networks.parts.resnet_weights import LoadedWeights, load_resnet
from medseg.networks.parts.slice_by_slice import SliceBySlice
from medseg.networks.parts.slice_triplets import slice_triplets
from medseg.networks.registry import create, list_networks, register

__all__ = [
    "LRASPP",
    "MCGCN",
    "AHNet",
    "AdaptReport",
    "AdaptRow",
    "AdaptiveUNet",
    "ConcatGuidedNet",
    "DANet",
    "Guidance",
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
    "SliceBySlice",
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
    "slice_triplets",
]
