"""Shapes of the features of backbones: feature maps, sequences of tokens, or vectors."""

from collections.abc import Sequence

_KINDS = {
    2: "feature vectors (batch, channels)",
    3: "a sequence of tokens (batch, tokens, channels)",
    4: "a feature map (batch, height, width, channels)",
}
# By the number of axes of the features.
_RANKS = {"token": (3,), "none": (2,)}
_OTHER_RANKS = (3, 4)


def check_features(shape: Sequence[int | None], owner: str):
    """Checks that features are maps, sequences or vectors.

    Args:
        shape: Their shape, with the batch axis.
        owner: What returns them, for the message.

    Raises:
        ValueError: If they are not.
    """
    if not isinstance(shape, tuple) or len(shape) not in _KINDS:
        raise ValueError(
            f"{owner} must return {', or '.join(reversed(_KINDS.values()))}; got {shape}"
        )


def check_positions(pooling: str, shape: Sequence[int | None]):
    """Checks that features of a shape can be pooled.

    Args:
        pooling: Name of the pooling.
        shape: Shape of the features, with the batch axis.

    Raises:
        ValueError: If they cannot be pooled; the message says what the pooling takes, and what to
            choose instead.
    """
    ranks = _RANKS.get(pooling, _OTHER_RANKS)
    if len(shape) not in ranks:
        advice = ": choose pooling none" if len(shape) == 2 else ": choose pooling average"
        raise ValueError(
            f"pooling {pooling} takes {' or '.join(_KINDS[rank] for rank in ranks)}; got "
            f"{tuple(shape)}{advice if len(shape) in _KINDS else ''}"
        )


def position_axes(features) -> tuple[int, ...]:
    """Returns the axes between the batch and the channels."""
    return tuple(range(1, len(features.shape) - 1))
