"""The smallest tensor size for which a compiled pass pays off."""

import math
from collections.abc import Sequence

# 4 MB of float32, about the size of the caches. Below, storing intermediate results costs little,
# and a call of compiled code costs more.
_LARGE = 2**20


def is_large(shape: Sequence[int | None]) -> bool:
    """Returns whether a shape is large enough to compile for; false if it is unknown."""
    sizes = [size for size in shape if size is not None]
    return len(sizes) == len(shape) and math.prod(sizes) >= _LARGE
