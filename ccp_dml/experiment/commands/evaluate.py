"""`--mode=evaluate`: measures saved networks on the test classes."""

from absl import flags
from etils import epath

from ccp_dml.experiment.commands.arguments import given_settings
from ccp_dml.experiment.evaluation import (
    adopt_preprocessing,
    load_networks,
    measure_networks,
    metric_rows,
)
from ccp_dml.experiment.flags import settings_from
from ccp_dml.experiment.metrics import (
    CLASS_FILE,
    interval_rows,
    metric_titles,
    write_class_metrics,
)
from ccp_dml.experiment.training_data import load_benchmark
from ccp_dml.experiment.workdir import write_json
from ccp_dml.report import metrics_table


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Prints the metrics of `--networks`, and writes them if a folder is given.

    Raises:
        ValueError: If a flag or setting is wrong, or a network does not fit the data.
    """
    if not flag_values.networks:
        raise ValueError(
            "--networks is missing: name the networks to measure, such as --networks=model.keras"
        )
    settings = settings_from(flag_values)
    networks = load_networks(flag_values.networks)
    settings = adopt_preprocessing(networks, settings, given_settings(flag_values))
    benchmark = load_benchmark(settings)
    measured = measure_networks(networks, benchmark, settings)
    rows = metric_rows(measured)
    titles = metric_titles(rows)
    print(metrics_table("on the test classes", rows, titles))
    if intervals := interval_rows(rows):
        print(f"\n{metrics_table('95 % interval over the queries', intervals, titles)}")
    if workdir:
        folder = epath.Path(workdir)
        write_json(folder / "evaluation.json", rows)
        by_class = {name: measurement.by_class for name, measurement in measured.items()}
        write_class_metrics(folder / CLASS_FILE, by_class, benchmark.class_names)
        print(f"\nthe results are in {folder}: evaluation.json, {CLASS_FILE}")
