"""Backbones: networks from images to feature maps, and the weights they start from."""

from ccp_dml.models.backbones.catalog import get_backbone, value_scaling
from ccp_dml.models.backbones.pretrained import load_backbone_weights
from ccp_dml.models.backbones.small_convnet import small_convnet

__all__ = ["get_backbone", "load_backbone_weights", "small_convnet", "value_scaling"]
