"""Checks whether image files can be decoded, once for each file."""

import concurrent.futures
import hashlib
import json
import os
import threading
from collections.abc import Iterable

import tensorflow as tf
from absl import logging
from etils import epath
from tqdm import tqdm

from ccp_dml.atomic_write import atomic_write
from ccp_dml.data.cache import cache_folder
from ccp_dml.data.image_index import file_state, is_remote

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_READERS = 32
_REMEMBERED_AT_A_TIME = 5000


def image_problems(paths: Iterable[str], source: str) -> dict[str, str]:
    """Finds the files that cannot be decoded as JPEG or PNG images, and what is wrong with them.

    Results are kept in `cache_folder()` and used again as long as a file's size and time stay the
    same. An interruption keeps those of the files checked so far.

    Args:
        paths: The files.
        source: The folder or list that the files are from, under which results are kept.

    Returns:
        For each bad file, in the order of `paths`, what is wrong.
    """
    paths = list(paths)
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:32]
    memory = cache_folder() / "checked" / f"{digest}.json"
    seen = _recall(memory)
    some_remote = any(map(is_remote, paths))
    # A bucket takes tens of milliseconds for a file; as many large images decoded at a time would
    # fill the memory.
    decoders = threading.Semaphore(os.cpu_count() or 1)
    workers = _READERS if some_remote else os.cpu_count()
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        # For local files, threads would take longer than looking them up does.
        states = list((executor.map if some_remote else map)(file_state, paths))
        known = dict(seen)
        new = []
        for path, state in zip(paths, states, strict=True):
            if state is not None and known.get(path, [None])[0] != state:
                new.append((path, state))
        results = executor.map(lambda each: _find_problem(each[0], decoders), new)
        bar = tqdm(results, "checking images", len(new), unit="image", delay=1, leave=False)
        try:
            for number, ((path, state), problem) in enumerate(zip(new, bar, strict=True)):
                known[path] = [state, problem]
                if number % _REMEMBERED_AT_A_TIME == _REMEMBERED_AT_A_TIME - 1:
                    _remember(memory, known)
        except KeyboardInterrupt:
            executor.shutdown(wait=False, cancel_futures=True)
            _remember(memory, known)
            raise
    checked = {
        path: known[path] for path, state in zip(paths, states, strict=True) if state is not None
    }
    if checked != seen:
        _remember(memory, checked)
    problem_of = {path: problem for path, (_, problem) in checked.items()}
    every = {path: problem_of.get(path, "is not a file") for path in paths}
    return {path: problem for path, problem in every.items() if problem}


def _find_problem(path, decoders):
    try:
        contents = epath.Path(path).read_bytes()
    except (OSError, tf.errors.OpError, UnicodeError, ValueError) as error:
        return f"cannot be read: {str(error).splitlines()[0]}"
    if not contents:
        return "is empty"
    if not contents.startswith(_SIGNATURES):
        return "is neither JPEG nor PNG"
    try:
        # TensorFlow reads paths in UTF-8.
        path.encode()
    except UnicodeError:
        return "has a name that is not UTF-8"
    with decoders:
        try:
            tf.io.decode_image(contents, channels=3, expand_animations=False)
        except tf.errors.InvalidArgumentError:
            return "is damaged"
    return ""


def _recall(memory):
    try:
        recalled = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return recalled if isinstance(recalled, dict) else {}


def _remember(memory, checked):
    try:
        with atomic_write(memory) as unfinished:
            unfinished.write_text(json.dumps(checked), encoding="utf-8")
    except OSError as error:
        logging.info("The images will be checked again next time: %s", error)
