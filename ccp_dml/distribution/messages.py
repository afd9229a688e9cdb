"""What one worker knows, told to all."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from ccp_dml.distribution import is_chief, num_workers, sum_over_workers


def from_chief(find: Callable[[], Any], strategy=None) -> Any:
    """Lets the chief find something out, and returns it on all workers, which have to call this.

    Args:
        find: Called on the chief alone; returns something that JSON can express.
        strategy: Defaults to `None`: that in whose scope this is called.

    Returns:
        What `find` returned; on the other workers as JSON gives it back, with lists for tuples.
    """
    if num_workers(strategy) == 1:
        return find()
    found = find() if is_chief(strategy) else None
    message = json.dumps(found).encode() if is_chief(strategy) else b""
    length = int(sum_over_workers(np.asarray(len(message), "int32"), strategy))
    characters = np.frombuffer(message.ljust(length, b"\0"), "uint8").astype("int32")
    message = sum_over_workers(characters, strategy).astype("uint8").tobytes()
    return found if is_chief(strategy) else json.loads(message)
