"""Exports data sets prepared by TFDS to image files with an index."""

import collections
import concurrent.futures
from collections.abc import Callable

import tensorflow_datasets as tfds
from etils import epath

from ccp_dml.data.image_header import identify_format
from ccp_dml.data.image_index import write_index
from ccp_dml.progress_bar import ProgressBar

# A bucket takes tens of milliseconds per file, so many are written at a time.
_WRITERS = 32
_IMAGES_AT_A_TIME = 256


def export_images(
    builder: tfds.core.DatasetBuilder,
    label: str,
    split_of: Callable[[str, int], str],
    folder: epath.Path,
    super_label: str = "",
):
    """Writes the images of a prepared data set to `<folder>/images/<class>/<number>.jpg`.

    Those of a data set with super-classes go to `<folder>/images/<super-class>/<class>`.

    The bytes are those of the official archive; names and order are always the same. The index is
    written last: after an interruption, call it again.

    Args:
        builder: A prepared TFDS builder.
        label: Name of the feature that holds the class.
        split_of: Function from an image's split in TFDS and its class to the split to put it in.
        folder: Where to write to.
        super_label: Name of the feature that holds the super-class: its number, or a text, the
            folder or nested folders for it. Defaults to `""`: there is none.

    Raises:
        ValueError: If something that should be an image is not one.
    """
    rows = []
    num_images = collections.Counter()
    total = sum(split.num_examples for split in builder.info.splits.values())
    with (
        concurrent.futures.ThreadPoolExecutor(_WRITERS) as executor,
        ProgressBar(total=total, desc=f"Writing images to {folder}", unit="image") as progress,
    ):
        for split, classes, super_classes, images in _read_encoded_images(
            builder, label, super_label
        ):
            paths, new_folders = [], []
            for class_number, above in zip(classes.tolist(), super_classes, strict=True):
                class_folder = f"images/{above}{class_number:05d}"
                if class_number not in num_images:
                    new_folders.append(folder / class_folder)
                paths.append(f"{class_folder}/{num_images[class_number]:04d}.jpg")
                num_images[class_number] += 1
                rows.append((paths[-1], class_number, split_of(split, class_number)))
            _run(executor, _make_folder, new_folders)
            _run(executor, _write_image, (folder / path for path in paths), images)
            progress.update(len(paths))
    write_index(folder, sorted(rows, key=lambda row: (row[1], row[0])))


def _read_encoded_images(builder, label, super_label):
    """Yields some images at a time: their split, classes, folders above these, and bytes `(n,)`."""
    labels = [label, *([super_label] if super_label else [])]
    decoders = tfds.decode.PartialDecoding(
        {"image": True, **dict.fromkeys(labels, True)},
        decoders={"image": tfds.decode.SkipDecoding()},
    )
    # One shard after the other, for the same order each time.
    reading = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    for split in sorted(builder.info.splits):
        dataset = builder.as_dataset(
            split=split, decoders=decoders, read_config=reading, shuffle_files=False
        )
        for examples in dataset.batch(_IMAGES_AT_A_TIME).as_numpy_iterator():
            above = [""] * len(examples[label])
            if super_label:
                to_name = getattr(builder.info.features[super_label], "int2str", bytes.decode)
                names = map(to_name, examples[super_label].tolist())
                above = [f"{name}/" if name else "" for name in names]
            yield split, examples[label], above, examples["image"]


def _make_folder(path):
    path.mkdir(parents=True, exist_ok=True)


def _write_image(path, data):
    try:
        identify_format(data)
    except ValueError as error:
        raise ValueError(f"the image for {path} in the archives {error}") from error
    path.write_bytes(data)


def _run(executor, function, *arguments):
    """Calls a function on each of the arguments, and propagates its errors."""
    for _ in executor.map(function, *arguments):
        pass
