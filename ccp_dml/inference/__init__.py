"""Inference: embedding of images, image search, verification, and export."""

from ccp_dml.inference.concatenated_embedder import ConcatenatedEmbedder
from ccp_dml.inference.gallery import Gallery
from ccp_dml.inference.image_embedder import ImageEmbedder
from ccp_dml.inference.load import load
from ccp_dml.inference.make_embedder import make_embedder
from ccp_dml.inference.verification import threshold_at_false_accept_rate

__all__ = [
    "ConcatenatedEmbedder",
    "Gallery",
    "ImageEmbedder",
    "load",
    "make_embedder",
    "threshold_at_false_accept_rate",
]
