"""Data: data sets, splits, samplers and pipelines."""

from ccp_dml.data.augmentation import random_affine
from ccp_dml.data.benchmark import Benchmark
from ccp_dml.data.cache import cache_folder
from ccp_dml.data.datasets import (
    DATASETS,
    DATASETS_IN_MEMORY,
    OFFICIAL_SETS,
    OfficialSet,
    dataset_parameters,
    index_folder,
    input_shape,
    letter_groups,
    load,
    load_letters,
    load_official,
    render_letters,
)
from ccp_dml.data.files import CACHES, ImageFiles
from ccp_dml.data.image_augmentation import (
    COLOR_JITTER_PARAMETERS,
    ImageAugmentation,
    compose_augmentation,
    load_augmentation,
    make_stateless,
)
from ccp_dml.data.image_index import ImageIndex, SplitSize
from ccp_dml.data.image_listing import ImageListing, list_benchmark, list_images
from ccp_dml.data.images import LabeledImages
from ccp_dml.data.label_noise import replace_labels
from ccp_dml.data.pipelines import ClassPools, class_pools, training_batches
from ccp_dml.data.preprocessing import CROPS, FITS, Preprocessing
from ccp_dml.data.samplers import (
    SAMPLERS,
    ClassNeighbors,
    balanced_batches,
    class_draws,
    hard_class_batches,
    hierarchical_batches,
    proportional_batches,
    sampler_parameters,
)
from ccp_dml.data.samples import LabeledSamples
from ccp_dml.data.splits import (
    class_fold,
    contiguous,
    hold_out_samples,
    split_by_class,
    split_by_sample,
)
from ccp_dml.data.value_scaling import SCALINGS

__all__ = [
    "CACHES",
    "COLOR_JITTER_PARAMETERS",
    "CROPS",
    "DATASETS",
    "DATASETS_IN_MEMORY",
    "FITS",
    "OFFICIAL_SETS",
    "SAMPLERS",
    "SCALINGS",
    "Benchmark",
    "ClassNeighbors",
    "ClassPools",
    "ImageAugmentation",
    "ImageFiles",
    "ImageIndex",
    "ImageListing",
    "LabeledImages",
    "LabeledSamples",
    "OfficialSet",
    "Preprocessing",
    "SplitSize",
    "balanced_batches",
    "cache_folder",
    "class_draws",
    "class_fold",
    "class_pools",
    "compose_augmentation",
    "contiguous",
    "dataset_parameters",
    "hard_class_batches",
    "hierarchical_batches",
    "hold_out_samples",
    "index_folder",
    "input_shape",
    "letter_groups",
    "list_benchmark",
    "list_images",
    "load",
    "load_augmentation",
    "load_letters",
    "load_official",
    "make_stateless",
    "proportional_batches",
    "random_affine",
    "render_letters",
    "replace_labels",
    "sampler_parameters",
    "split_by_class",
    "split_by_sample",
    "training_batches",
]
