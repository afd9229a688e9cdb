"""Use of trained networks: images in, embeddings out."""

from ccp_dml.inference.image_embedder import ImageEmbedder
from ccp_dml.inference.load import load

__all__ = ["ImageEmbedder", "load"]
