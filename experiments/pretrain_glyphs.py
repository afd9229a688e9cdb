"""Makes the weights of the small backbone that come with the package.

The backbone is trained as a softmax classifier of the letters of the glyphs' pretrain group, none
of which is a training or test letter of the data set: it stands in for weights of ImageNet.

Example:
  python experiments/pretrain_glyphs.py

takes about five minutes on one core. The same seed gives the same weights on the same machine.
"""

import keras
import tensorflow as tf
from absl import app, flags

from ccp_dml.data.datasets import glyphs
from ccp_dml.evaluation import embed, retrieval_metrics
from ccp_dml.layers import GlobalPooling
from ccp_dml.models import small_convnet
from ccp_dml.models.backbones import pretrained

_OUTPUT = flags.DEFINE_string("output", str(pretrained.SHIPPED["glyphs"]), "Where to write.")
_SEED = flags.DEFINE_integer("seed", 0, "Fixes the initial weights and the order of the images.")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Passes over the images.")
_SAMPLES = flags.DEFINE_integer("samples_per_letter", 60, "Training images of each letter.")
_BATCH_SIZE = 100
# How many of the train group's last letters the experiments validate on.
_VALIDATION_LETTERS = 100


def main(_):
    """Trains, measures and saves."""
    keras.utils.set_random_seed(_SEED.value)
    tf.config.experimental.enable_op_determinism()
    groups = glyphs.letter_groups()
    train = glyphs.load_letters(groups["pretrain"], _SAMPLES.value, seed=0)
    held_out = glyphs.load_letters(groups["pretrain"], samples_per_letter=5, seed=1)
    validation = glyphs.load_letters(groups["train"][-_VALIDATION_LETTERS:], 20, seed=0)

    backbone = small_convnet(train.images.shape[1:])
    features = GlobalPooling("average")(backbone.output)
    retriever = keras.Model(backbone.input, keras.layers.UnitNormalization()(features))
    logits = keras.layers.Dense(len(groups["pretrain"]))(features)
    classifier = keras.Model(backbone.input, logits)
    print(
        f"MAP@R on {_VALIDATION_LETTERS} other letters before: {_map_at_r(retriever, validation)}"
    )

    steps = _EPOCHS.value * -(-len(train) // _BATCH_SIZE)
    classifier.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    classifier.fit(
        train.images,
        train.labels,
        batch_size=_BATCH_SIZE,
        epochs=_EPOCHS.value,
        validation_data=(held_out.images, held_out.labels),
        verbose=2,
    )
    accuracy = classifier.evaluate(held_out.images, held_out.labels, verbose=0)[1]
    print(f"accuracy on other images of the {len(groups['pretrain'])} letters: {accuracy:.4f}")
    print(f"MAP@R on {_VALIDATION_LETTERS} other letters after: {_map_at_r(retriever, validation)}")
    backbone.save_weights(_OUTPUT.value, overwrite=True)
    print(f"wrote {_OUTPUT.value}")


def _map_at_r(model, data):
    embeddings = embed(model, data.images)
    return f"{retrieval_metrics(embeddings, data.labels)['map_at_r']:.4f}"


if __name__ == "__main__":
    app.run(main)
