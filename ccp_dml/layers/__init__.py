"""Layers: normalisation, pooling heads, proxies, memory."""

from ccp_dml.layers.memory import CrossBatchMemory
from ccp_dml.layers.normalization import LipschitzNormalization, lipschitz_normalize
from ccp_dml.layers.pooling import POOLINGS, GlobalPooling
from ccp_dml.layers.proxies import Proxies, ProxySample

__all__ = [
    "POOLINGS",
    "CrossBatchMemory",
    "GlobalPooling",
    "LipschitzNormalization",
    "Proxies",
    "ProxySample",
    "lipschitz_normalize",
]
