"""Layers: normalisation, pooling heads, proxies, memory."""

from ccp_dml.layers.generalized_mean_pooling import GeneralizedMeanPooling
from ccp_dml.layers.generalized_sum_pooling import GeneralizedSumPooling
from ccp_dml.layers.memory import CrossBatchMemory
from ccp_dml.layers.normalization import LipschitzNormalization, lipschitz_normalize
from ccp_dml.layers.pooling import POOLINGS, GlobalPooling, get_pooling
from ccp_dml.layers.proxies import Proxies, ProxySample

__all__ = [
    "POOLINGS",
    "CrossBatchMemory",
    "GeneralizedMeanPooling",
    "GeneralizedSumPooling",
    "GlobalPooling",
    "LipschitzNormalization",
    "Proxies",
    "ProxySample",
    "get_pooling",
    "lipschitz_normalize",
]
