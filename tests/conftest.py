import gc
import os
import pathlib
import shutil
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from tensorflow.python.data.ops import dataset_ops
from tensorflow.python.eager import context
from tensorflow.python.framework.ops import gradient_registry

from ccp_dml import main
from ccp_dml.data.parallelism import disable_autotuning
from tests.main_command import DIGITS


def pytest_configure(config):
    # The tests leave the user's cache alone; the processes that they start use this one too.
    config.cache_of_tests = tempfile.TemporaryDirectory()
    os.environ["CCP_DML_CACHE"] = config.cache_of_tests.name
    # There is a test process for each core.
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if keras.backend.backend() == "tensorflow":
        # Two logical devices for the distribution tests, configured before any is used.
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, devices)


def pytest_unconfigure(config):
    config.cache_of_tests.cleanup()


# Started last, one of these would keep a single process busy while the others are idle.
LONGEST = (
    "test_both_backends.py",
    "test_whole_way.py",
    "experiment/test_protocol_processes.py",
    "experiment/test_tuning_processes.py",
    "experiment/test_devices.py",
    "test_main.py",
    # The tests of the following files share little set-up, so processes can divide them up.
    "experiment/test_resuming.py",
    "distribution/test_replicas.py",
    "test_notebooks.py",
    "docs/test_tutorials.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    tests = pathlib.Path(__file__).parent
    places = {tests / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    if keras.backend.backend() == "tensorflow":
        return
    for item in items:
        markers = item.iter_markers("both_backends")
        if any(marker.kwargs.get("slow") for marker in markers):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    # Everything imported by now is kept. Freezing it spares each garbage collection half a million
    # objects, which take more than half a second.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    """Seeds all random numbers, but keeps the operations that TensorFlow has cached.

    On a new seed, TensorFlow drops its whole cache, because stateful random operations hold the old
    seed. The next test would have to prepare every operation and every function again, which takes
    longer than most tests. Neither Keras nor the package uses stateful random operations.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context.pywrap_tfe, "TFE_ContextClearCaches", lambda handle: None)
        keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="session")
def without_autotuning():
    """Turns off autotuning for all datasets, even Keras's own; see `ccp_dml.data.parallelism`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_ops.DatasetV2, "_apply_debug_options", disable_autotuning)
        yield


@pytest.fixture(autouse=True, scope="module")
def release_graphs():
    """Frees the graphs that the tests of a file traced."""
    yield
    if keras.backend.backend() != "tensorflow":
        return
    # TensorFlow registers the gradient of each `tf.custom_gradient` that it traces, and Keras has
    # them in its optimizers and layers. Each gradient keeps its graph alive: some gigabytes of
    # graphs would slow down all later tests.
    registered = gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]
    gc.collect()
    # Whatever is left is kept, so later collections can skip it.
    gc.freeze()


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if path is None:
        pytest.skip("there is no Chromium: install it, as by apt-get install chromium")
    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def two_replicas():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.distribute is TensorFlow's")
    # One for all tests: TensorFlow's CPU collectives confuse those of two strategies.
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def golden():
    """Loads an array file of reference values."""
    return lambda name: np.load(pathlib.Path(__file__).parent / "golden" / name)


@pytest.fixture(scope="session")
def run_command():
    """Runs the command line in this process, with flags of its own."""

    def run(*arguments):
        flag_values = flags.FlagValues()
        main.define_flags(flag_values)
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(flags, "FLAGS", flag_values)
            main.main(main._parse_flags(["ccp_dml", *arguments]))

    return run


@pytest.fixture
def command(capsys, run_command):
    """Runs the command in this process, expects exit code 2 and returns the last line of stderr."""

    def run_here(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run_command(DIGITS, *arguments)
        assert stopped.value.code == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    return run_here


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A local folder that TensorFlow, and so `etils.epath`, finds at `gs://bucket`."""
    folder = tmp_path / "bucket"
    folder.mkdir()

    def local(argument):
        is_address = isinstance(argument, str) and argument.startswith("gs://bucket")
        return argument.replace("gs://bucket", str(folder)) if is_address else argument

    def redirected(function):
        return lambda *arguments, **options: function(*map(local, arguments), **options)

    for name in ("GFile", "exists", "isdir", "listdir", "makedirs", "remove", "rename"):
        monkeypatch.setattr(tf.io.gfile, name, redirected(getattr(tf.io.gfile, name)))
    return folder
