"""Makes the official benchmarks from their archives, with TFDS."""

import importlib.util
import urllib.error

import requests
import tensorflow_datasets as tfds
from absl import logging
from etils import epath
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.extractor import ExtractError

from ccp_dml.data.datasets import inshop  # noqa: F401, which TFDS then knows
from ccp_dml.data.datasets.archive_check import ARCHIVE_ERRORS, check_archive
from ccp_dml.data.datasets.export import export_images
from ccp_dml.data.datasets.official import OfficialSet, describe_command, join_lines
from ccp_dml.data.image_index import ImageIndex, read_index

_DOWNLOAD_ERRORS = (
    requests.RequestException,
    urllib.error.URLError,
    ConnectionError,
    TimeoutError,
    tfds.download.DownloadError,
)
# Errors that TFDS raises for archives that differ from the official ones.
_FORMAT_ERRORS = (
    *ARCHIVE_ERRORS,
    ExtractError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
)
_ARCHIVE_SUFFIXES = (".tgz", ".zip")


def build_official(name: str, benchmark: OfficialSet, data_dir: epath.Path) -> ImageIndex:
    """Makes the image files of a benchmark and their index, and reads it.

    Args:
        name: Name of the benchmark.
        benchmark: What it is made from.
        data_dir: Folder of data sets.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If an archive is missing, damaged or cannot be downloaded, or a package is
            missing; the message says what to do.
    """
    builder = _prepare(name, benchmark, data_dir)
    export_images(
        builder, benchmark.label, benchmark.split_of, data_dir / name, benchmark.super_label
    )
    logging.info(
        "%s is complete in %s: %s and %s are no longer needed.",
        name,
        data_dir / name,
        builder.data_dir,
        data_dir / "downloads",
    )
    return read_index(data_dir / name)  # pyright: ignore[reportReturnType] (just written)


def _prepare(name, benchmark, data_dir):
    """Returns the TFDS builder with its data prepared in `data_dir`."""
    builder = tfds.builder(benchmark.builder, data_dir=data_dir)
    if builder.is_prepared():
        return builder
    if benchmark.needs_opencv and importlib.util.find_spec("cv2") is None:
        raise ValueError(
            f"TensorFlow Datasets needs OpenCV to build {name} from its archives: "
            'pip install "ccp_dml[cub]"'
        )
    manual_dir = data_dir / "downloads" / "manual"
    if missing := _find_missing(benchmark, manual_dir):
        if benchmark.obstacle:
            raise ValueError(
                _explain_manual_download(name, benchmark, data_dir, benchmark.obstacle)
            )
        # TFDS retries for minutes before it reports that there is no network.
        files = ", ".join(map(str, missing))
        logging.info(
            "Downloading the files that are missing from %s: %s. You can also put them there "
            "yourself.",
            manual_dir,
            files,
        )
    _check_archives(name, benchmark, data_dir)
    # Only the official archives: a prepared copy from elsewhere would go unchecked.
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    try:
        builder.download_and_prepare(download_dir=data_dir / "downloads", download_config=config)
    except NonMatchingChecksumError as error:
        for archive in benchmark.archives:
            path = manual_dir / archive.path
            if str(path) in str(error):
                raise ValueError(
                    f"{path} is incomplete or not the official archive: its checksum is wrong. "
                    f"Replace it and run: {describe_command(name, data_dir)}"
                ) from error
        reason = "the file at its address is not the official archive"
        raise ValueError(_explain_manual_download(name, benchmark, data_dir, reason)) from error
    except _DOWNLOAD_ERRORS as error:
        reason = f"the download failed ({join_lines(error)})"
        raise ValueError(_explain_manual_download(name, benchmark, data_dir, reason)) from error
    except _FORMAT_ERRORS as error:
        raise ValueError(
            f"{name} cannot be built from the files in {manual_dir}: {join_lines(error)}"
        ) from error
    return builder


def _check_archives(name, benchmark, data_dir):
    """Checks archives that were put there by hand; downloads by TFDS are official."""
    for archive in benchmark.archives:
        path = data_dir / "downloads" / "manual" / archive.path
        if path.suffix in _ARCHIVE_SUFFIXES and path.exists():
            try:
                check_archive(path, archive.lists)
            except ValueError as error:
                raise ValueError(
                    f"{error}. Replace it and run: {describe_command(name, data_dir)}"
                ) from error


def _find_missing(benchmark, manual_dir):
    return [
        archive
        for archive in benchmark.archives
        if not (manual_dir / archive.path).exists()
        and not (archive.extracted and (manual_dir / archive.extracted).exists())
    ]


def _explain_manual_download(name, benchmark, data_dir, reason):
    manual_dir = data_dir / "downloads" / "manual"
    files = ", ".join(map(str, _find_missing(benchmark, manual_dir)))
    return (
        f"{name} cannot be downloaded: {reason}. Missing from {manual_dir}: {files}. Put the files "
        f"there and run: {describe_command(name, data_dir)}"
    )
