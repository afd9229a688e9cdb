"""Data: what can be loaded, splits, samplers and pipelines."""

from ccp_dml.data.augmentation import random_affine
from ccp_dml.data.catalog import DATASETS, Benchmark, load
from ccp_dml.data.glyphs import letter_groups, render_letters
from ccp_dml.data.image_index import ImageIndex, SplitSize
from ccp_dml.data.images import LabeledImages, class_pools, training_batches
from ccp_dml.data.official import OFFICIAL_SETS, OfficialSet, load_official
from ccp_dml.data.samplers import balanced_batches, class_draws
from ccp_dml.data.splits import class_fold, contiguous, hold_out_samples

__all__ = [
    "DATASETS",
    "OFFICIAL_SETS",
    "Benchmark",
    "ImageIndex",
    "LabeledImages",
    "OfficialSet",
    "SplitSize",
    "balanced_batches",
    "class_draws",
    "class_fold",
    "class_pools",
    "contiguous",
    "hold_out_samples",
    "letter_groups",
    "load",
    "load_official",
    "random_affine",
    "render_letters",
    "training_batches",
]
