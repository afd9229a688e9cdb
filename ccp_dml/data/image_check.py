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

from ccp_dml.atomic_write import atomic_write
from ccp_dml.data.cache import cache_folder
from ccp_dml.data.decoding import decode_image
from ccp_dml.data.image_header import (
    IMAGE_FORMATS,
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    check_pixels,
    explain_damage,
    identify_format,
    read_header,
)
from ccp_dml.data.image_index import file_state, is_remote
from ccp_dml.processor_count import count_processors
from ccp_dml.progress_bar import ProgressBar

# Formats that are not read, but should not be skipped silently.
_OTHER_SUFFIXES = (".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl")

_NO_IMAGE = f"is not in one of the formats {', '.join(IMAGE_FORMATS)}"
_EMPTY = "is empty"
_NO_FILE = "is not a file"
_UNREADABLE = "cannot be read: "
# The largest size of a file without padding: 16 bits of four channels, and metadata.
_BYTES_PER_PIXEL = 8
_BYTES_OF_METADATA = 2**25
_BYTES_OF_SIGNATURE = 16
# Change it when the stored result of a check changes.
_VERSION = 3
_READERS = 32
_REMEMBERED_AT_A_TIME = 5000


def is_stray(path: str, problem: str) -> bool:
    """Returns whether a file was never meant to be an image, by its name and its contents.

    Args:
        path: The file.
        problem: What `image_problems` says about it.
    """
    has_suffix = path.lower().endswith((*IMAGE_SUFFIXES, *_OTHER_SUFFIXES))
    return problem in (_NO_IMAGE, _EMPTY, _NO_FILE) and not has_suffix


def image_problems(
    paths: Iterable[str], source: str, max_pixels: int = MAX_PIXELS
) -> dict[str, str]:
    """Finds the files that cannot be decoded as images, and what is wrong with them.

    Images are JPEG, PNG, WebP, GIF and BMP files. Images with too many pixels are not decoded.

    Results are kept in `cache_folder()` and reused as long as a file's size and time stay the same;
    files that could not be read are read again. After an interruption, the results so far are kept.

    Args:
        paths: The files.
        source: The folder or list that the files come from, which identifies the stored results.
        max_pixels: Largest number of pixels of an image, width times height. Defaults to 50
            million.

    Returns:
        For each bad file, in the order of `paths`, what is wrong.
    """
    paths = list(paths)
    key = repr((_VERSION, max_pixels)).encode() + os.fsencode(source)
    digest = hashlib.sha256(key).hexdigest()[:32]
    memory = cache_folder() / "checked" / f"{digest}.json"
    seen = _recall(memory)
    some_remote = any(map(is_remote, paths))
    # A bucket takes tens of milliseconds per file; decoding as many large images at a time would
    # fill the memory.
    decoders = threading.Semaphore(count_processors())
    workers = _READERS if some_remote else count_processors()
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        # For local files, threads would take longer than the look-up itself.
        states = list((executor.map if some_remote else map)(file_state, paths))
        known = dict(seen)
        new = []
        for path, state in zip(paths, states, strict=True):
            if state is not None and known.get(path, [None])[0] != state:
                new.append((path, state))
        results = executor.map(
            lambda each: _find_problem(each[0], each[1], decoders, max_pixels), new
        )
        bar = ProgressBar(results, "checking images", len(new), unit="image", delay=1, leave=False)
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
    every = {path: problem_of.get(path, _NO_FILE) for path in paths}
    return {path: problem for path, problem in every.items() if problem}


def _find_problem(path, state, decoders, max_pixels):
    size, _ = state
    try:
        with epath.Path(path).open("rb") as file:
            contents = file.read(_BYTES_OF_SIGNATURE)
            if not contents:
                return _EMPTY
            identify_format(contents)
            _check_size(size, max_pixels)
            # TensorFlow reads paths in UTF-8.
            path.encode()
            contents += file.read()
        check_pixels(read_header(contents), max_pixels)
        with decoders:
            _decode(contents)
    except UnicodeError:
        return "has a name that is not UTF-8"
    except ValueError as error:
        return str(error)
    except tf.errors.InvalidArgumentError:
        return explain_damage(contents)
    except (OSError, tf.errors.OpError) as error:
        return f"{_UNREADABLE}{str(error).splitlines()[0]}"
    return ""


def _check_size(size, max_pixels):
    """Raises an error if a file is too large to be read into memory."""
    if size > max_pixels * _BYTES_PER_PIXEL + _BYTES_OF_METADATA:
        raise ValueError(f"has {size:,} bytes, too many for max_pixels, {max_pixels}")


def _decode(contents):
    if identify_format(contents) in ("JPEG", "PNG"):
        # Several times as fast as the whole pipeline of training, which matters for millions of
        # files.
        tf.io.decode_image(contents, channels=3, expand_animations=False)
    else:
        decode_image(contents)


def _recall(memory):
    try:
        recalled = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return recalled if isinstance(recalled, dict) else {}


def _remember(memory, checked):
    # Permissions, disks and networks can be repaired without a change to the file.
    lasting = {
        path: [state, problem]
        for path, (state, problem) in checked.items()
        if not problem.startswith(_UNREADABLE)
    }
    try:
        with atomic_write(memory) as unfinished:
            unfinished.write_text(json.dumps(lasting), encoding="utf-8")
    except OSError as error:
        logging.info("The images will be checked again next time: %s", error)
