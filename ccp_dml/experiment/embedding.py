"""Embedding of any number of images into a Parquet file, which can be resumed."""

import dataclasses
import hashlib
import os
from collections.abc import Collection, Sequence

import numpy as np
from absl import logging
from etils import epath

from ccp_dml.atomic_write import atomic_write, remove_unfinished
from ccp_dml.checks import check_whole_number, list_first, printable
from ccp_dml.data import ImageListing, list_benchmark, list_images
from ccp_dml.data.image_check import image_problems
from ccp_dml.data.image_header import MAX_PIXELS
from ccp_dml.data.image_index import file_state, is_remote
from ccp_dml.experiment.evaluation import adopt_preprocessing
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.training_data import load_benchmark
from ccp_dml.experiment.workdir import WorkdirLock, move_to_earlier, read_json, write_json
from ccp_dml.inference import ConcatenatedEmbedder
from ccp_dml.inference.embedding_file import (
    ROWS_AT_A_TIME,
    import_pyarrow,
    make_schema,
    make_table,
    open_writer,
    read_metadata,
    set_metadata,
)
from ccp_dml.progress_bar import ProgressBar

# Number of images per part; starting a part takes seconds.
_PART = 8192
_DESCRIPTION = "job.json"
_MAX_LISTED = 20


def list_inputs(settings: Settings) -> ImageListing:
    """Lists the images of all splits of a data set.

    Args:
        settings: `dataset` with `data_dir`. `"folder"` has fewer requirements than for training:
            see `ccp_dml.data.list_images`.

    Raises:
        ValueError: If the data cannot be loaded.
        OSError: If a folder cannot be read.
    """
    if settings.dataset != "folder":
        return list_benchmark(load_benchmark(settings))
    if not settings.data_dir:
        raise ValueError(
            "data_dir is missing: name a folder of images or a CSV file with the column path"
        )
    return list_images(settings.data_dir)


def load_embedder(
    paths: Sequence[str], settings: Settings, given: Collection[str] = ()
) -> ConcatenatedEmbedder:
    """Loads networks for images in files.

    Args:
        paths: Files `model.keras` written by training.
        settings: Its `scaling`, `resize_size`, `background` and `fit` are used for networks that
            were saved without their preprocessing, if given.
        given: Names of settings that were given and must not contradict the networks. Defaults to
            none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: See `ccp_dml.inference.load` and `adopt_preprocessing`.
    """
    chosen = {
        name: getattr(settings, name)
        for name in ("scaling", "resize_size", "background", "fit")
        if name in given and getattr(settings, name) not in ("auto", 0)
    }
    embedder = ConcatenatedEmbedder.load(paths, **chosen)
    networks = dict(zip(paths, embedder.embedders, strict=True))
    adopt_preprocessing(networks, settings, given)
    return embedder


def embed_images(
    embedder: ConcatenatedEmbedder,
    listing: ImageListing,
    output: str | os.PathLike,
    batch_size: int = 256,
    max_bad_images: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> int:
    """Embeds images into a Parquet file; see `ccp_dml.inference.embedding_file` for its columns.

    The images are embedded in parts, which are kept in the folder `<output>.parts` until they are
    joined, so that memory does not grow with their number, and so that the same call resumes where
    a process was killed and writes the same file. If images, networks or the preprocessing have
    changed, it starts over. A file of other inputs is moved to the folder `earlier` beside it when
    the new one is complete; a file of the same inputs is left as it is.

    Args:
        embedder: The networks.
        listing: The images. Images in memory are numbered in the order of the list.
        output: The file; any path that `etils.epath` knows. Its folder is made if it does not
            exist.
        batch_size: Number of images at a time. Defaults to 256.
        max_bad_images: Largest number of images that may be left out because they cannot be
            decoded. Defaults to 0.
        max_pixels: Largest number of pixels, width times height, of an image. Defaults to 50
            million.

    Returns:
        Number of embeddings in the file.

    Raises:
        ValueError: If pyarrow is not installed, more than `max_bad_images` images are bad (the
            message names them), or all are.
        OSError: If an image cannot be read, or the file cannot be written.
        WorkdirInUseError: If another process writes the same file.
    """
    _, parquet = import_pyarrow()
    check_whole_number("batch_size", batch_size, 1)
    check_whole_number("max_bad_images", max_bad_images, 0)
    path = epath.Path(output)
    if path.is_dir():
        raise ValueError(f"output {path} is a folder: name a file in it, such as gallery.parquet")
    inputs = _fingerprint_inputs(embedder, listing)
    if read_metadata(path).get("inputs") == inputs:
        with path.open("rb") as file:
            count = parquet.read_metadata(file).num_rows
        logging.info("%s already contains these %d embeddings.", path, count)
        return count
    schema = make_schema(
        _list_ids(listing),
        listing.labels,
        listing.splits,
        embedder.embedding_size,
        {"networks": embedder.fingerprints, "inputs": inputs},
    )
    job = _Job(embedder, listing, batch_size, max_bad_images, max_pixels)
    folder = path.parent / f"{path.name}.parts"
    with WorkdirLock(folder):
        _remove_other_parts(folder, inputs, path)
        try:
            job.write_parts(folder, schema)
        except KeyboardInterrupt:
            logging.info("Finished embeddings are kept in %s: the same command resumes.", folder)
            raise
        parts = [_part_path(folder, start) for start in range(0, len(listing), _PART)]
        count = _join_parts(parts, path, schema)
    folder.rmtree()
    return count


def _fingerprint_inputs(embedder, listing):
    """Identifies the networks, their preprocessing, the images, and what is known about these."""
    digest = hashlib.sha256()
    networks = [
        (fingerprint, repr(each.preprocessing))
        for fingerprint, each in zip(embedder.fingerprints, embedder.embedders, strict=True)
    ]
    digest.update(repr((networks, _PART)).encode())
    for row, image in enumerate(listing.images):
        if listing.in_files:
            # Querying the files of a bucket would take as long as reading them.
            state = None if is_remote(image) else file_state(image)
            digest.update(repr((image, state)).encode())
        else:
            digest.update(image.tobytes())
        known = [each[row] for each in (listing.labels, listing.splits) if each is not None]
        digest.update(repr(known).encode())
    return digest.hexdigest()[:32]


def _remove_other_parts(folder, inputs, output):
    """Removes parts of other inputs from the folder."""
    remove_unfinished(folder)
    begun = read_json(folder / _DESCRIPTION)
    if begun != {"inputs": inputs}:
        parts = sorted(folder.glob("*.parquet"))
        if parts:
            logging.info("%s has parts of other images or networks: starting over.", folder)
        for part in parts:
            part.unlink()
        write_json(folder / _DESCRIPTION, {"inputs": inputs})
    if output.exists():
        logging.info(
            "%s has embeddings of other images or networks, and will be moved to %s.",
            output,
            output.parent / "earlier",
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Job:
    """Images to embed in parts; see `embed_images`."""

    embedder: ConcatenatedEmbedder
    listing: ImageListing
    batch_size: int
    max_bad_images: int
    max_pixels: int

    def write_parts(self, folder, schema):
        """Embeds the missing parts."""
        total, bad = len(self.listing), {}
        with ProgressBar(total=total, desc="embedding", unit="image", delay=1) as bar:
            for start in range(0, total, _PART):
                part, end = _part_path(folder, start), min(start + _PART, total)
                if part.exists():
                    bad |= read_metadata(part)["bad"]
                    self._check_bad(bad, end)
                else:
                    images = self.listing.images[start:end]
                    bad_in_part, embeddings = self._embed_good(images)
                    bad |= bad_in_part
                    self._check_bad(bad, end)
                    rows = np.arange(start, end)
                    if bad_in_part:
                        rows = [row for row in rows if self.listing.images[row] not in bad_in_part]
                    _write_part(part, schema, self.listing, rows, embeddings, bad_in_part)
                bar.update(end - start)
        for path, problem in bad.items():
            logging.warning("Left out %s: %s.", printable(path), problem)
        if len(bad) == total:
            raise ValueError(f"none of the {total} files is an image that can be decoded")

    def _embed_good(self, images):
        """Returns what is wrong with images that cannot be decoded, and the others' embeddings."""
        try:
            return {}, self._embed(images)
        except (ValueError, OSError):
            # Files are checked only here, because checking decodes all of them once more.
            bad = {}
            if isinstance(images, list):
                source = f"{images[0]} and {len(images) - 1} more"
                bad = image_problems(images, source, self.max_pixels)
            if not bad:
                raise
        return bad, self._embed([image for image in images if image not in bad])

    def _embed(self, images):
        return self.embedder.embed(images, self.batch_size, self.max_pixels)

    def _check_bad(self, bad, seen):
        if len(bad) > self.max_bad_images:
            listed = [f"{printable(path)} ({problem})" for path, problem in bad.items()]
            raise ValueError(
                f"{len(bad)} of the first {seen} files cannot be decoded as images, and "
                f"max_bad_images is {self.max_bad_images}: {list_first(listed, _MAX_LISTED, '; ')}"
            )


def _part_path(folder, start):
    return folder / f"{start // _PART:08d}.parquet"


def _write_part(path, schema, listing, rows, embeddings, bad):
    ids = _list_ids(listing)
    labels, splits = (
        None if values is None else [values[row] for row in rows]
        for values in (listing.labels, listing.splits)
    )
    schema = set_metadata(schema, {"bad": bad})
    with (
        atomic_write(path) as unfinished,
        unfinished.open("wb") as file,
        open_writer(file, schema) as writer,
    ):
        table = make_table(schema, embeddings, [ids[row] for row in rows], labels, splits)
        writer.write_table(table)


def _list_ids(listing):
    return listing.images if listing.in_files else range(len(listing))


def _join_parts(parts, output, schema):
    """Writes all parts as one file, in row groups; returns the number of rows."""
    pa, parquet = import_pyarrow()
    count, group = 0, []
    with atomic_write(output) as unfinished:
        with unfinished.open("wb") as file, open_writer(file, schema) as writer:
            for part in parts:
                with part.open("rb") as part_file:
                    group.append(parquet.read_table(part_file).cast(schema))
                count += len(group[-1])
                if sum(map(len, group)) >= ROWS_AT_A_TIME or part == parts[-1]:
                    table = pa.concat_tables(group).combine_chunks()
                    writer.write_table(table, row_group_size=len(table))
                    group = []
        beside = [path.name for path in output.parent.glob(f"{output.name}.*.faiss*")]
        move_to_earlier(output.parent, [output.name, *beside])
    return count
