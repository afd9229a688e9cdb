"""Which tensors are worth a pass of their own."""

import math
from collections.abc import Sequence

# 4 MB of float32, about what the caches hold. Below, writing what is in between costs little, and
# a call of what is compiled costs more.
_LARGE = 2**20


def is_large(shape: Sequence[int | None]) -> bool:
    """Whether tensors of a shape are worth compiling for; not if it is unknown before the step."""
    return None not in shape and math.prod(shape) >= _LARGE
