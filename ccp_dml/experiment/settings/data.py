"""Settings of the data: where they are, and how images in files are prepared."""

import dataclasses
from collections.abc import Mapping

from ccp_dml.data import (
    CACHES,
    COLOR_JITTER_PARAMETERS,
    CROPS,
    DATASETS,
    FITS,
    SCALINGS,
    dataset_parameters,
)
from ccp_dml.data.image_header import MAX_PIXELS
from ccp_dml.data.preprocessing import check_crop_area, parse_color
from ccp_dml.experiment.settings.setting import SettingGroup, check_params, params, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(SettingGroup):
    """Where the data are."""

    dataset: str = setting("digits", "Data set.", choices=DATASETS)
    dataset_params: Mapping[str, float] = params(
        "the data set", "train_letters=100,samples_per_letter=10"
    )
    data_dir: str = setting(
        "",
        "Folder of the data set, or its URL, such as gs://bucket/data; for the data set folder "
        "also a CSV file with the columns path, label and, optionally, split.",
    )
    max_bad_images: int = setting(
        0,
        "Damaged or non-image files that the data set folder may hold; they are skipped.",
        least=0,
    )
    label_noise: float = setting(
        0.0,
        "Share of the training samples whose label is replaced by that of another training class, "
        "at random and never its own: one draw, fixed by the seed, for all methods. What validates "
        "and tests keeps its labels.",
        least=0,
        most=1,
    )
    cache: str = setting(
        "none",
        "What is kept of images in files: nothing; in memory, the encoded files that are trained "
        "on and the cropped images that are evaluated; on disk, the cropped images and copies of "
        "remote files.",
        choices=CACHES,
    )

    def __post_init__(self):
        super().__post_init__()
        check_params(self.dataset, self.dataset_params, dataset_parameters(self.dataset))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSettings(SettingGroup):
    """How images in files are prepared and augmented."""

    image_size: int = setting(227, "Height and width of inputs made of files, in pixels.", least=1)
    resize_size: int = setting(
        0,
        "What the shorter side is resized to for evaluation, before image_size is cut out of the "
        "centre; 0 for 256 / 227 of image_size.",
        least=0,
    )
    crop: str = setting(
        "area",
        "Random crop of images in files: a box of 16-100% of the area and an aspect ratio of "
        "0.75-1.33, or a square of side 40-256 when the shorter side is 256.",
        choices=CROPS,
    )
    crop_area: tuple[float, ...] = setting(
        (0.16, 1.0),
        "For crop=area: bounds of the part of the area, above 0 up to 1.",
        above=0,
        most=1,
        length=2,
    )
    fit: str = setting(
        "crop",
        "How pictures in files that are not square are taken: training crops boxes of them and "
        "evaluation the centre; or they are padded to squares with the background, which training "
        "crops and evaluation sees whole.",
        choices=FITS,
    )
    background: str = setting(
        "white",
        "Colour behind transparent pixels of images in files, and of the padding: a name that HTML "
        "knows, or #rrggbb.",
    )
    flip: bool = setting(
        True,
        "Whether training mirrors every other image in files; digits and glyphs are never "
        "mirrored. Off where mirror images belong to other classes.",
    )
    max_pixels: int = setting(
        MAX_PIXELS,
        "The most pixels, width times height, of an image in a data set folder; one that has more "
        "is not decoded and counts among max_bad_images.",
        least=1,
    )
    color_jitter: Mapping[str, float] = dataclasses.field(
        default_factory=dict,
        metadata={
            "help": "Random changes of the colours of training images in files, such as "
            "brightness=0.4,contrast=0.4,saturation=0.4,hue=0.1; none by default."
        },
    )
    rand_augment: int = setting(
        0, "Operations of RandAugment for each training image in files; 0 for none.", least=0
    )
    rand_augment_magnitude: float = setting(
        0.5, "Strength of the operations of RandAugment.", above=0, most=1
    )
    random_erasing: float = setting(
        0.0,
        "Probability that a box of a training image in files is filled with noise.",
        least=0,
        most=1,
    )
    augmentation: str = setting(
        "",
        "module:name of your own augmentation of training images in files: a function of an image, "
        "float32 (image_size, image_size, 3) in 0...255, and a seed, or a keras.Layer; see "
        "ccp_dml.data.load_augmentation.",
    )
    scaling: str = setting(
        "auto",
        "Values of images in files: what the backbone expects, which is 0...1 (unit) for functions "
        "of your own; 0...1; -1...1; 0...255; with ImageNet's mean subtracted, and divided by its "
        "standard deviation; or blue, green and red with ImageNet's mean subtracted.",
        choices=("auto", *SCALINGS),
    )

    def __post_init__(self):
        super().__post_init__()
        check_crop_area(self.crop_area)
        parse_color("background", self.background)
        check_params("color_jitter", self.color_jitter, COLOR_JITTER_PARAMETERS)
