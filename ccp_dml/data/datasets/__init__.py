"""Data sets that can be loaded by name."""

from ccp_dml.data.datasets.catalog import (
    DATASETS,
    DATASETS_IN_MEMORY,
    dataset_parameters,
    input_shape,
    load,
)
from ccp_dml.data.datasets.folder import index_folder
from ccp_dml.data.datasets.glyphs import letter_groups, load_letters, render_letters
from ccp_dml.data.datasets.official import OFFICIAL_SETS, OfficialSet, load_official

__all__ = [
    "DATASETS",
    "DATASETS_IN_MEMORY",
    "OFFICIAL_SETS",
    "OfficialSet",
    "dataset_parameters",
    "index_folder",
    "input_shape",
    "letter_groups",
    "load",
    "load_letters",
    "load_official",
    "render_letters",
]
