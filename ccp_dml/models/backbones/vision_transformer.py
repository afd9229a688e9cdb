"""ViT-B/16, as in timm."""

import keras
from keras import ops

_PATCH = 16
_CHANNELS, _BLOCKS, _HEADS, _HIDDEN = 768, 12, 12, 3072
_EPSILON = 1e-6


@keras.saving.register_keras_serializable("ccp_dml")
class ClassTokenAndPositions(keras.layers.Layer):
    """Prepends a learned class token to a sequence, and adds learned positions to both.

    Call arguments:
        inputs: Tokens `(batch, tokens, channels)`, as many in each call.

    Returns:
        Tokens `(batch, 1 + tokens, channels)`.

    Example:

    >>> ClassTokenAndPositions()(np.zeros((2, 9, 4), "float32")).shape
    TensorShape([2, 10, 4])
    """

    names_in_torch = ("cls_token", "pos_embed")

    def build(self, input_shape):
        _, tokens, channels = input_shape
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.token = self.add_weight(shape=(1, 1, channels), initializer="zeros", name="token")
        self.positions = self.add_weight(
            shape=(1, 1 + tokens, channels), initializer=initializer, name="positions"
        )

    def call(self, inputs):
        token = ops.broadcast_to(self.token, (ops.shape(inputs)[0], 1, inputs.shape[-1]))
        return ops.concatenate([token, inputs], axis=1) + self.positions

    def compute_output_shape(self, input_shape):
        batch, tokens, channels = input_shape
        return (batch, 1 + tokens, channels)


def vit_b16(input_shape: tuple[int, int, int] = (224, 224, 3)) -> keras.Model:
    """ViT-B/16 without its classifier: 85,798,656 weights and 768-d tokens.

    "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale" (Dosovitskiy et
    al., ICLR 2021), as `vit_base_patch16_224` in timm. Images are scaled as `"symmetric"`, as in
    the training of most of its weights; DeiT was trained with `"torch"`.

    Args:
        input_shape: Height, width and channels of the images; heights and widths are multiples of
            16 pixels. Defaults to `(224, 224, 3)`.

    Returns:
        A `keras.Model` from images `(batch, height, width, channels)` to tokens `(batch, 1 + height
        · width / 256, 768)`, of which the first is the class token, after the last normalisation.
        Its layers have the same names as timm's modules, so that `load_backbone_weights` reads its
        weights.

    Raises:
        ValueError: If a height or width is not a multiple of 16.

    Example:

    >>> vit_b16((32, 48, 3)).output_shape
    (None, 7, 768)
    """
    if any(side is None or side % _PATCH for side in input_shape[:2]):
        raise ValueError(
            f"vit_b16 takes heights and widths that are multiples of {_PATCH} pixels, such as 224; "
            f"got {input_shape[0]} x {input_shape[1]}"
        )
    inputs = keras.Input(input_shape)
    patches = keras.layers.Conv2D(_CHANNELS, _PATCH, _PATCH, name="patch_embed.proj")(inputs)
    tokens = keras.layers.Reshape((-1, _CHANNELS), name="patch_embed.tokens")(patches)
    tokens = ClassTokenAndPositions(name="embed")(tokens)
    for block in range(_BLOCKS):
        tokens = _block(tokens, f"blocks.{block}")
    return keras.Model(inputs, _normalize(tokens, "norm"), name="vit_b16")


def _block(tokens, name):
    """Applies attention and a perceptron to normalised tokens, each with a residual connection."""
    normalized = _normalize(tokens, f"{name}.norm1")
    attended = keras.layers.MultiHeadAttention(_HEADS, _CHANNELS // _HEADS, name=f"{name}.attn")(
        normalized, normalized
    )
    tokens = keras.layers.Add(name=f"{name}.add1")([tokens, attended])
    hidden = _normalize(tokens, f"{name}.norm2")
    hidden = keras.layers.Dense(_HIDDEN, activation="gelu", name=f"{name}.mlp.fc1")(hidden)
    hidden = keras.layers.Dense(_CHANNELS, name=f"{name}.mlp.fc2")(hidden)
    return keras.layers.Add(name=f"{name}.add2")([tokens, hidden])


def _normalize(tokens, name):
    return keras.layers.LayerNormalization(epsilon=_EPSILON, name=name)(tokens)
