"""What XLA makes of training steps on JAX, one file for each of them.

KERAS_BACKEND=jax python -m tests.distribution.compiled_steps FOLDER plain:contrastive --strategy=…
"""

import argparse
import pathlib

import jax

from ccp_dml import distribution
from tests.cases import settings_of, small_model
from tests.models.small_models import images_and_labels

# So many that a step with `sampled_classes` does not look at all of them.
NUM_CLASSES = 128
EMBEDDING_SIZE = 8


def compile_step(method, case):
    """The program of a step of a method, compiled as `fit` does."""
    parts = set(method.split("+"))
    settings = settings_of(
        case,
        embedding_size=EMBEDDING_SIZE,
        samples_per_class=8,
        sampled_classes=3 if "sampled" in parts else 0,
    )
    model = small_model("+".join(parts - {"sampled"}), settings, NUM_CLASSES)
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in groups)
    shardings = jax.tree.map(lambda value: value.sharding, state)
    batch = images_and_labels(40)
    strategy = distribution.strategy_of(model)
    if strategy is not None:
        layouts = [strategy.get_data_layout(each.shape).backend_layout for each in batch]
        batch = tuple(map(jax.device_put, batch, layouts))
    step = jax.jit(model.train_step, donate_argnums=0, out_shardings=(None, shardings))
    return step.lower(state, batch).compile()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--strategy", default="none")
    parser.add_argument("--model_devices", type=int, default=1)
    arguments = parser.parse_args()
    with distribution.strategy(arguments.strategy, arguments.model_devices).scope():
        for case in arguments.cases:
            text = compile_step(*case.split(":")).as_text()
            (arguments.folder / f"{case}.txt").write_text(text)


if __name__ == "__main__":
    main()
