"""Inference: image search and verification."""

from ccp_dml.inference.gallery import Gallery
from ccp_dml.inference.verification import threshold_at_false_accept_rate

__all__ = ["Gallery", "threshold_at_false_accept_rate"]
