"""How much longer `import ccp_dml` takes than importing TensorFlow and Keras.

    python experiments/benchmarks/import_time.py

In turn, new processes import TensorFlow and Keras alone, and both with the package. The median of
the differences within a turn is printed, in seconds of elapsed and of processor time.
"""

import statistics
import subprocess
import sys

from absl import app, flags

_REPEATS = flags.DEFINE_integer("repeats", 9, "Turns; medians are printed.", lower_bound=1)

_MEASURE = """
import time
start = time.perf_counter(), time.process_time()
import {modules}
print(time.perf_counter() - start[0], time.process_time() - start[1])
"""


def measure_import(modules: str) -> tuple[float, ...]:
    """Returns the elapsed and the processor time of an import in a new process, in seconds."""
    process = subprocess.run(
        [sys.executable, "-c", _MEASURE.format(modules=modules)],
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(map(float, process.stdout.split()))


def main(_):
    """Prints the medians."""
    turns = [
        (measure_import("tensorflow, keras"), measure_import("tensorflow, keras, ccp_dml"))
        for _ in range(1 + _REPEATS.value)
    ][1:]  # The first turn reads the files from the disk.
    for place, name in enumerate(("elapsed", "processor")):
        base = statistics.median(without[place] for without, _ in turns)
        more = statistics.median(both[place] - without[place] for without, both in turns)
        print(f"{name}: {base:.2f} s for TensorFlow and Keras, {more:.2f} s more for ccp_dml")


if __name__ == "__main__":
    app.run(main)
