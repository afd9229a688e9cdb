"""Speed of the training pipeline for JPEG files, compared with decoding and other pipelines.

python experiments/benchmarks/images.py
python experiments/benchmarks/images.py --files=60000 --classes=11318

Without `--classes` it compares them side by side in one run, by images per second of processor
time, that is, per core, whatever else the machine does. With `--classes` it writes files of that
many classes and runs the pipeline without a model, which shows what a large data set costs:
start-up, memory, steady speed.
"""

import pathlib
import statistics
import tempfile
import time

import numpy as np
import psutil
import tensorflow as tf
from absl import app, flags
from photos import HEIGHT, WIDTH, write_photos
from PIL import Image

from ccp_dml.data import (
    ImageFiles,
    Preprocessing,
    compose_augmentation,
    load,
    training_batches,
)

_FILES = flags.DEFINE_integer("files", 500, "Number of files.", lower_bound=32)
_CLASSES = flags.DEFINE_integer(
    "classes", 0, "Number of classes of a data set to write and load; 0 to compare speeds."
)
_REPEATS = flags.DEFINE_integer(
    "repeats", 7, "Number of measurements of each pipeline.", lower_bound=1
)
_SCALING = flags.DEFINE_string("scaling", "unit", "Scaling of the values.")
_FOLDER = flags.DEFINE_string("folder", None, "Folder for the files; by default a temporary one.")

_SIZE = 227
_COLOR_JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}


def processor_seconds(work) -> float:
    """Processor time of this process for `work`, in seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def decoding(paths):
    """Only reads and decodes files."""
    names = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    images = names.map(
        lambda name: tf.io.decode_jpeg(tf.io.read_file(name), channels=3),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return lambda: consume(images)


def decoding_all_then_cropping(paths):
    """The work of the training pipeline in TensorFlow's usual way."""

    def load_image(name, seed):
        image = tf.io.decode_jpeg(tf.io.read_file(name), channels=3)
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            tf.zeros((1, 0, 4)),
            seed,
            min_object_covered=0.0,
            aspect_ratio_range=(0.75, 1.33),
            area_range=(0.16, 1.0),
            use_image_if_no_bounding_boxes=True,
        )
        image = tf.image.resize(tf.slice(image, begin, size), (_SIZE, _SIZE))
        image = tf.image.stateless_random_flip_left_right(image, seed)
        return tf.ensure_shape(image, (_SIZE, _SIZE, 3)) / 255

    names = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    seeds = tf.data.Dataset.random(seed=0, rerandomize_each_iteration=False).batch(2)
    images = tf.data.Dataset.zip(names, seeds).map(load_image, num_parallel_calls=tf.data.AUTOTUNE)
    batches = images.batch(32)
    return lambda: consume(batches)


def pillow_loop(paths):
    """The work of the training pipeline as a loop over Pillow images."""
    generator = np.random.default_rng(0)

    def work():
        batch = np.empty((32, _SIZE, _SIZE, 3), "float32")
        for number, path in enumerate(paths):
            image = Image.open(path).convert("RGB")
            area = generator.uniform(0.16, 1) * image.width * image.height
            aspect = generator.uniform(0.75, 1.33)
            width = min(round((area * aspect) ** 0.5), image.width)
            height = min(round((area / aspect) ** 0.5), image.height)
            left = generator.integers(image.width - width + 1)
            top = generator.integers(image.height - height + 1)
            box = (left, top, left + width, top + height)
            image = image.resize((_SIZE, _SIZE), Image.Resampling.BILINEAR, box)
            if generator.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            np.divide(np.asarray(image), 255, out=batch[number % 32])

    return work


def training_pipeline(paths, **augmentation):
    """What `training_batches` does once indices are drawn, with the settings of an augmentation."""
    data = ImageFiles(
        np.array([str(path) for path in paths]),
        np.arange(len(paths)),
        Preprocessing(_SIZE, scaling=_SCALING.value),
        augmentation=compose_augmentation(_SIZE, **augmentation),
    )
    indices = tf.data.Dataset.range(len(paths)).batch(32)
    batches = data.training_examples(indices, 32, tf.constant([0, 0], tf.int64))
    return lambda: consume(batches)


def consume(dataset):
    """Iterates over a data set."""
    for _ in dataset:
        pass


def compare(paths):
    """Prints images per second of processor time of each way."""
    ways = {
        "training pipeline": training_pipeline(paths),
        "(a) decoding alone": decoding(paths),
        "(b) decoding all, then cropping": decoding_all_then_cropping(paths),
        "(c) Pillow loop": pillow_loop(paths),
        "with --color_jitter": training_pipeline(paths, color_jitter=_COLOR_JITTER),
        "with --rand_augment=2": training_pipeline(paths, rand_augment=2),
        "with --random_erasing=1": training_pipeline(paths, random_erasing=1.0),
    }
    start = training_pipeline(paths[:1])
    for work in (start, *ways.values()):
        work()
    # In turn, so that other programs slow down all of them alike.
    rates = {name: [] for name in ways}
    starts = []
    for _ in range(_REPEATS.value):
        starts.append(processor_seconds(start))
        for name, work in ways.items():
            rates[name].append(len(paths) / processor_seconds(work))
    medians = {name: statistics.median(rates_of_way) for name, rates_of_way in rates.items()}
    size = np.mean([path.stat().st_size for path in paths])
    print(f"{len(paths)} JPEGs of {WIDTH} x {HEIGHT} pixels, {size / 1000:.0f} kB each")
    for name, rate in medians.items():
        ratio = medians["training pipeline"] / rate
        print(f"{name:32s} {rate:6.0f} images/s per core; the pipeline is {ratio:.2f} x as fast")
    start = statistics.median(starts)
    steady = len(paths) / (len(paths) / medians["training pipeline"] - start)
    print(f"the start of the pipeline is {start:.2f} s of that; {steady:.0f} images/s without it")


def load_large(folder):
    """Prints start-up time, memory and steady speed of a large data set."""
    process = psutil.Process()
    before = process.memory_info().rss
    for attempt in ("first", "second"):
        start = time.perf_counter()
        benchmark = load("folder", str(folder), test_fraction=0.01)
        loaded = time.perf_counter() - start
        batches = iter(training_batches(benchmark.train, 8, 4, seed=0))
        next(batches)
        first_batch = time.perf_counter() - start - loaded
        print(
            f"{attempt} time: {len(benchmark.train) + len(benchmark.test)} images of "
            f"{benchmark.train.num_classes + benchmark.test.num_classes} classes listed and "
            f"checked after {loaded:.1f} s, first batch {first_batch:.2f} s later"
        )
    count = 200
    start = time.perf_counter()
    for _ in range(count):
        next(batches)
    rate = 32 * count / (time.perf_counter() - start)
    grown = (process.memory_info().rss - before) / 2**20
    print(f"steady: {rate:.0f} images/s on {psutil.cpu_count()} cores; {grown:.0f} MiB more memory")


def main(_):
    """Runs the benchmark."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(_FOLDER.value or temporary)
        paths = write_photos(folder, _FILES.value, _CLASSES.value or 1)
        if _CLASSES.value:
            load_large(folder)
        else:
            compare(paths)


if __name__ == "__main__":
    app.run(main)
