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
    """Location and use of the data."""

    dataset: str = setting(
        "digits", "Data set; folder stands for your own images in data_dir.", choices=DATASETS
    )
    dataset_params: Mapping[str, float] = params(
        "the data set", "train_letters=100,samples_per_letter=10"
    )
    data_dir: str = setting(
        "",
        "Folder of data sets, or its URL, such as gs://bucket/data; sop, for example, is its "
        "subfolder sop. For --dataset=folder: the folder of the images, or a CSV file with the "
        "columns path, label and, optionally, split.",
    )
    max_bad_images: int = setting(
        0,
        "For --dataset=folder: largest number of damaged or non-image files, which are skipped.",
        least=0,
    )
    label_noise: float = setting(
        0.0,
        "Share of the training samples whose label is replaced by that of another training class, "
        "chosen at random: one draw, determined by the seed, for all methods. Validation and test "
        "samples keep their labels.",
        least=0,
        most=1,
    )
    cache: str = setting(
        "none",
        "What to keep of images in files: nothing; in memory, the encoded training files and the "
        "cropped evaluation images; on disk, the cropped images and copies of remote files.",
        choices=CACHES,
    )

    def __post_init__(self):
        super().__post_init__()
        check_params(self.dataset, self.dataset_params, dataset_parameters(self.dataset))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSettings(SettingGroup):
    """How images in files are prepared and augmented."""

    image_size: int = setting(
        227, "Height and width of inputs made from files, in pixels.", least=1
    )
    resize_size: int = setting(
        0,
        "Size of the shorter side after resizing for evaluation, before the centre of size "
        "image_size is cropped; 0 for 256 / 227 of image_size.",
        least=0,
    )
    crop: str = setting(
        "area",
        "Random crop of training images in files. area: a box with a relative area within "
        "crop_area and an aspect ratio of 0.75-1.33. side: a square of side 40-256 where the "
        "shorter side of the image is 256.",
        choices=CROPS,
    )
    crop_area: tuple[float, float] = setting(
        (0.16, 1.0),
        "For crop=area of images in files: bounds of the relative area of the box, above 0 and up "
        "to 1.",
        above=0,
        most=1,
        length=2,
    )
    fit: str = setting(
        "crop",
        "How to handle images in files that are not square. crop: training crops boxes, evaluation "
        "the centre. pad: they are padded to squares with the background; training crops boxes of "
        "the squares, evaluation sees them whole.",
        choices=FITS,
    )
    background: str = setting(
        "white",
        "Colour behind transparent pixels of images in files, and of the padding: an HTML colour "
        "name or #rrggbb.",
    )
    flip: bool = setting(
        True,
        "Whether training mirrors half of the images in files, chosen at random; digits and glyphs "
        "are never mirrored. Switch it off if mirror images belong to other classes.",
    )
    max_pixels: int = setting(
        MAX_PIXELS,
        "For --dataset=folder: largest number of pixels, width times height, of an image; larger "
        "images are not decoded and count towards max_bad_images.",
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
        0, "Number of RandAugment operations for each training image in files; 0 for none.", least=0
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
        "Scaling of the values of images in files. auto: what the backbone expects, which is unit "
        "for your own functions. unit: 0...1. symmetric: -1...1. raw: 0...255. torch: unit, "
        "minus ImageNet's mean and divided by its standard deviation. bgr: 0...255 in the order "
        "blue, green, red, minus ImageNet's mean.",
        choices=("auto", *SCALINGS),
    )

    def __post_init__(self):
        super().__post_init__()
        check_crop_area(self.crop_area)
        parse_color("background", self.background)
        check_params("color_jitter", self.color_jitter, COLOR_JITTER_PARAMETERS)
