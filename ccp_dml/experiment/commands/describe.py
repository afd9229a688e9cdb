"""`--mode=describe`: shows settings and data without training."""

from absl import flags

from ccp_dml.experiment.commands.pictures import save_picture
from ccp_dml.experiment.description import describe
from ccp_dml.experiment.flags import flagfile, settings_from
from ccp_dml.experiment.recommendation import recommend
from ccp_dml.experiment.training_data import load_benchmark
from ccp_dml.report import draw_samples


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Prints the settings, the data set and a recommended preset, and draws some images.

    Raises:
        ValueError: If a flag or setting is wrong, or the data cannot be loaded.
    """
    settings = settings_from(flag_values)
    print(flagfile(settings, flag_values.workdir))
    benchmark = load_benchmark(settings)
    print(describe(benchmark, settings))
    print(f"\n{recommend(benchmark, settings)}")
    figure = draw_samples(benchmark.train, benchmark.class_names, seed=settings.seed)
    path = save_picture(figure, workdir, f"{settings.dataset}_samples.png")
    print(f"\nimages of some training classes are drawn in {path}")
