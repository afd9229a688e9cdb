"""How much memory gradient caching saves, and how much time it costs.

    python experiments/benchmarks/gradient_cache.py
    KERAS_BACKEND=jax python experiments/benchmarks/gradient_cache.py --parts=1,8

ResNet-50 with frozen batch normalisation takes steps with batches of noise, in a separate process
for each number of parts. Memory is the peak of the process minus its memory before the first step.
Time is processor time, of all threads together and without the first step, which is compiled; it is
compared with that of the first number of parts.
"""

import json
import resource
import subprocess
import sys
import time

import keras
import numpy as np
from absl import app, flags

from ccp_dml.models import EmbeddingModel, MetricLearningModel

_PARTS = flags.DEFINE_list("parts", ["1", "2", "4", "8"], "Numbers of parts to compare.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images of a batch.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 128, "Height and width of the images.")
_STEPS = flags.DEFINE_integer("steps", 2, "Steps that are timed.")
_ALONE = flags.DEFINE_bool("alone", False, "Whether to measure the first number only, as JSON.")


def measure(parts):
    """Gigabytes and seconds of processor time per step."""
    keras.utils.set_random_seed(0)
    shape = (_IMAGE_SIZE.value, _IMAGE_SIZE.value, 3)
    backbone = keras.applications.ResNet50(weights=None, include_top=False, input_shape=shape)
    model = MetricLearningModel(
        EmbeddingModel(backbone, freeze_batch_norm=True), gradient_cache_parts=parts
    )
    model.compile(keras.optimizers.SGD(1e-3), loss="contrastive")
    images = np.random.default_rng(0).uniform(size=(_BATCH_SIZE.value, *shape)).astype("float32")
    labels = np.arange(_BATCH_SIZE.value) // 4

    def read_peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9

    def fit(steps):
        model.fit(images, labels, batch_size=len(images), epochs=steps, verbose=0)

    before = read_peak()
    fit(1)
    began = time.process_time()
    fit(_STEPS.value)
    return {
        "gigabytes": read_peak() - before,
        "seconds": (time.process_time() - began) / _STEPS.value,
    }


def main(_):
    """Measures each number of parts, and prints a table."""
    if _ALONE.value:
        print(json.dumps(measure(int(_PARTS.value[0]))))
        return
    print("| parts | GB | × its memory | × its processor time |")
    print("| ---: | ---: | ---: | ---: |")
    first = None
    for parts in _PARTS.value:
        command = [sys.executable, *sys.argv, f"--parts={parts}", "--alone"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        first = first or found
        memory, seconds = (found[key] / first[key] for key in ("gigabytes", "seconds"))
        print(f"| {parts} | {found['gigabytes']:.2f} | {memory:.2f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
