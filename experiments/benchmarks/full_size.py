"""A cell of the paper's tables at the size of the real data, with synthetic pictures.

    python experiments/benchmarks/full_size.py --set=cub200_2011
    python experiments/benchmarks/full_size.py --set=sop

Writes archives of the official size and form, though not with the official checksums, and lets the
package make the data set from them: 11,788 pictures with sides of 227 to 500 pixels for
CUB-200-2011, 120,053 of 64 to 96 pixels for Stanford Online Products. Then it prints the speed and
memory of the parts of a training, and makes a run of the cell C2 and C2-CCP as the command line
does, with its report: a few validations of the plain loss and of CCP, at least one renewal of the
proxies, and the test set. On CUB the network is BN-Inception with random weights; on SOP, and with
`--network=small`, it is a small one on 64 × 64 pixels. Everything else except the number of steps
and the learning rate is as in the cell. With the small network the run is repeated for CCP alone,
killed on the way and resumed, and has to end with the same numbers.

`--links` skips the archives of SOP, which take long to unpack, and puts hard links to 600 pictures
where the package keeps its images; nothing can be learned from them.

Each stage runs in a separate process, for which wall-clock time, processor time of all threads and
peak resident memory (`getrusage`) are printed. `--folder` keeps all files, and existing ones are
not made again. It needs 3 GB.
"""

import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from absl import app, flags
from full_size_data import link_products, write_birds, write_products

ROOT = pathlib.Path(__file__).parents[2]
WRITERS = {"cub200_2011": write_birds, "sop": write_products}
# The changes of a run to the flagfile of the cell, and further ones for each network.
CHANGES = ("--weights=none", "--round_patience=1", "--method=plain,ccp")
NETWORKS = {
    "bn_inception": (
        "--max_steps=6",
        "--steps_per_validation=2",
        "--max_round_validations=1",
        "--learning_rate=1e-4",
    ),
    "small": (
        "--max_steps=100",
        "--steps_per_validation=20",
        "--max_round_validations=2",
        "--learning_rate=1e-3",
        "--backbone=small_convnet",
        "--image_size=64",
        "--resize_size=72",
    ),
}
DEFAULT_NETWORKS = {"cub200_2011": "bn_inception", "sop": "small"}

_SET = flags.DEFINE_enum("set", "cub200_2011", list(WRITERS), "Data set.")
_NETWORK = flags.DEFINE_enum(
    "network", None, list(NETWORKS), "Network; by default that of the set."
)
_FOLDER = flags.DEFINE_string("folder", None, "Folder for all files; by default a temporary one.")
_LINKS = flags.DEFINE_bool(
    "links", False, "For sop: hard links to a few pictures where the package keeps its images."
)
_STAGE = flags.DEFINE_enum("stage", None, ["load", "measure"], "Stage to run in this process.")


def settings_flags(name: str, folder: pathlib.Path) -> list[str]:
    """The flags of the run."""
    flagfile = ROOT / "experiments" / "paper" / name / "c2_ccp.flags"
    network = _NETWORK.value or DEFAULT_NETWORKS[name]
    return [f"--flagfile={flagfile}", f"--data_dir={folder}", *CHANGES, *NETWORKS[network]]


def load_set(name: str, folder: pathlib.Path):
    """Makes the data set from the archives, as if they were the official ones."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums

    from ccp_dml.data import OFFICIAL_SETS, load_official

    manual = folder / "downloads" / "manual"
    if manual.exists():
        builder = tfds.builder_cls(OFFICIAL_SETS[name].builder)
        builder.url_infos = {
            url: checksums.compute_url_info(manual / info.filename)
            for url, info in builder.url_infos.items()
        }
    print(load_official(name, str(folder)).sizes())


def images_per_second(batches: Iterable, at_least: int) -> tuple[float, float, float]:
    """Images per second of wall-clock and processor time, and peak GB, after the first batch.

    Args:
        batches: Of images, or tuples that begin with images.
        at_least: Images that are counted, unless there are fewer.
    """
    from peak_memory import PeakMemory

    count = 0
    with PeakMemory() as peak:
        batches = iter(batches)
        next(batches)
        start = time.perf_counter(), time.process_time()
        for batch in batches:
            count += len(batch[0] if isinstance(batch, tuple) else batch)
            if count >= at_least:
                break
        clock = time.perf_counter() - start[0]
        processor = time.process_time() - start[1]
    return count / clock, count / processor, peak.gigabytes


def measure_time(function: Callable) -> tuple[float, float, float]:
    """Wall-clock and processor seconds, and peak memory in GB."""
    from peak_memory import PeakMemory

    with PeakMemory() as peak:
        start = time.perf_counter(), time.process_time()
        function()
        clock = time.perf_counter() - start[0]
        processor = time.process_time() - start[1]
    return clock, processor, peak.gigabytes


def measure_parts(name: str, folder: pathlib.Path):
    """Prints the speed and memory of the parts of a training."""
    import keras

    from ccp_dml.data import training_batches
    from ccp_dml.evaluation import retrieval_metrics
    from ccp_dml.experiment import load_benchmark, split_benchmark
    from ccp_dml.experiment.flags import settings_from_text
    from ccp_dml.experiment.networks import make_embedding_model
    from ccp_dml.models import ChanceConstrainedModel, MetricLearningModel
    from ccp_dml.projections import greedy_k_center

    settings = settings_from_text("\n".join([*_read_flags(name, folder), "--cache=none"]))
    benchmark = load_benchmark(settings)
    data = split_benchmark(benchmark, settings)
    keras.utils.set_random_seed(0)
    num_classes, size = data.train.num_classes, settings.embedding_size
    few = 512 if settings.backbone == "bn_inception" else 8_192

    def batches():
        return training_batches(data.train, 8, 4, 0)

    print("| part | images/s | images/s of the processor | GB |")
    print("| --- | ---: | ---: | ---: |")
    rates = {
        "decoding, evaluation": (data.validation.evaluation_images(), few),
        "decoding, training": (batches(), few),
    }
    for title, (source, count) in rates.items():
        _print_row(title, images_per_second(source, count))

    network = make_embedding_model(settings)
    inputs = data.validation.subset(np.arange(min(few, len(data.validation))))

    def embed():
        for images in inputs.evaluation_images():
            yield network.predict_on_batch(images)

    _print_row("embedding", images_per_second(embed(), few))
    models = {
        "training, plain": MetricLearningModel(network),
        "training, CCP": ChanceConstrainedModel(
            make_embedding_model(settings),
            num_classes,
            settings.proxies_per_class,
            batch_loss_weight=settings.batch_loss_weight,
        ),
    }
    for title, model in models.items():
        model.compile(keras.optimizers.Adam(1e-5), loss="contrastive")

        def train(model=model):
            for images, labels in batches():
                model.train_on_batch(images, labels)
                yield images

        _print_row(title, images_per_second(train(), few // 4))

    print("\n| part | seconds | of the processor | GB |")
    print("| --- | ---: | ---: | ---: |")
    generator = np.random.default_rng(0)
    embeddings = generator.standard_normal((len(benchmark.test), size), "float32")
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    _print_row(
        f"retrieval, {len(embeddings):,} queries",
        measure_time(lambda: retrieval_metrics(embeddings, benchmark.test.labels)),
    )
    pool = generator.standard_normal((num_classes, settings.pool_size, size), "float32")
    count = settings.proxies_per_class
    present = np.ascontiguousarray(pool[:, :count])
    _print_row(
        f"k-centre, {num_classes:,} classes × {settings.pool_size}",
        measure_time(lambda: greedy_k_center(pool, present, count)),
    )


def _read_flags(name, folder):
    """The flags of the run, one a line, with those of the flagfile among them."""
    lines = []
    for flag in settings_flags(name, folder):
        if flag.startswith("--flagfile="):
            lines += pathlib.Path(flag.partition("=")[2]).read_text().splitlines()
        else:
            lines.append(flag)
    return lines


def _print_row(title, numbers):
    print(f"| {title} | {' | '.join(f'{number:,.3g}' for number in numbers)} |", flush=True)


def run_stage(title: str, arguments: Sequence[str], until: Callable[[], bool] | None = None):
    """Runs Python in a separate process and prints its time and memory.

    Args:
        title: What is printed.
        arguments: Those of Python.
        until: Function that is called regularly and returns whether to kill the process. Defaults
            to `None`: never.
    """
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, env=_environment())
    while until is not None:
        if process.poll() is not None:
            sys.exit(f"{title} ended before it was killed")
        if until():
            process.kill()
            break
        time.sleep(0.05)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if until is None and process.returncode:
        sys.exit(f"{title} failed with exit code {process.returncode}")
    seconds = time.perf_counter() - start
    # In kilobytes, but on macOS in bytes.
    gigabytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    print(
        f"\n== {title}: {seconds:,.0f} s by the clock, {usage.ru_utime + usage.ru_stime:,.0f} s of "
        f"the processor, at most {gigabytes:.2f} GB ==\n",
        flush=True,
    )


def _environment():
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def write_archives(name: str, folder: pathlib.Path):
    """Writes the archives where the package looks for them, unless the data set is there."""
    manual = folder / "downloads" / "manual"
    if (folder / name / "index.csv").exists():
        return
    if _LINKS.value:
        link_products(folder / name)
        return
    manual.mkdir(parents=True, exist_ok=True)
    clock, processor, gigabytes = measure_time(lambda: WRITERS[name](manual))
    size = sum(path.stat().st_size for path in manual.iterdir()) / 1e9
    print(
        f"\n== archives, {size:.2f} GB: {clock:,.0f} s by the clock, {processor:,.0f} s of the "
        f"processor, {gigabytes:.2f} GB of memory ==\n",
        flush=True,
    )


def check_run(workdir: pathlib.Path) -> dict:
    """The results of the run, which must have renewed its proxies and be complete."""
    results = json.loads((workdir / "results.json").read_text())
    names = [name for name in ("plain", "ccp") if name in results]
    for name in ("before", *names):
        values = {key: results[name][key] for key in ("map_at_r", "precision_at_1", "steps")}
        if not all(map(math.isfinite, values.values())):
            sys.exit(f"the results of {name} are not finite: {values}")
        print(f"{name}: {values}, rounds {results[name]['rounds']}")
    if not results["ccp"]["rounds"]:
        sys.exit("no round of ccp ended, so that no proxy was renewed")
    if not (workdir / "report.html").stat().st_size:
        sys.exit("the report is empty")
    return results


def kill_and_resume(name: str, folder: pathlib.Path, expected: dict):
    """Repeats the run of CCP, killed on the way and resumed, and compares its numbers."""
    workdir = folder / "runs" / "killed"
    shutil.rmtree(workdir, ignore_errors=True)
    arguments = ["-m", "ccp_dml.main", *settings_flags(name, folder), "--method=ccp"]
    arguments += [f"--workdir={workdir}", "--checkpoint_minutes=0.05", "--noreport"]
    checkpoints = workdir / "checkpoints" / "ccp"

    def is_on_the_way():
        steps = [int(path.name.split("-")[1]) for path in checkpoints.glob("step-*.npz")]
        return max(steps, default=0) >= expected["steps"] // 2

    run_stage("run that is killed", arguments, until=is_on_the_way)
    run_stage("run that continues", arguments)
    resumed = json.loads((workdir / "results.json").read_text())["ccp"]
    different = [
        key for key, value in expected.items() if key != "seconds" and resumed[key] != value
    ]
    # Validation after validation, to the last digit.
    histories = [
        (folder / "runs" / each / "ccp" / "history.csv").read_bytes()
        for each in ("small", "killed")
    ]
    different += [] if histories[0] == histories[1] else ["history.csv"]
    print(f"resumed and uninterrupted run differ in {different or 'nothing'}")
    if different:
        sys.exit(1)


def main(argv):
    """Runs all stages, or one."""
    del argv
    name = _SET.value
    network = _NETWORK.value or DEFAULT_NETWORKS[name]
    if _STAGE.value:
        if _FOLDER.value is None:
            raise app.UsageError("--stage needs the --folder of the stages before it")
        {"load": load_set, "measure": measure_parts}[_STAGE.value](
            name, pathlib.Path(_FOLDER.value)
        )
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(_FOLDER.value or temporary).absolute()
        write_archives(name, folder)
        own = [__file__, f"--set={name}", f"--folder={folder}"]
        own.append(f"--network={network}")
        if not _LINKS.value:
            run_stage("data set from the archives", [*own, "--stage=load"])
        # The exported images are all that is needed.
        shutil.rmtree(folder / "downloads", ignore_errors=True)
        for builder in ("caltech_birds2011", "stanford_online_products"):
            shutil.rmtree(folder / builder, ignore_errors=True)
        run_stage("data set that exists already", [*own, "--stage=load"])
        run_stage("parts", [*own, "--stage=measure"])
        workdir = folder / "runs" / network
        arguments = ["-m", "ccp_dml.main", *settings_flags(name, folder)]
        run_stage("run", [*arguments, f"--workdir={workdir}", "--checkpoint_minutes=0.5"])
        results = check_run(workdir)
        if network == "small":
            kill_and_resume(name, folder, results["ccp"])


if __name__ == "__main__":
    app.run(main)
