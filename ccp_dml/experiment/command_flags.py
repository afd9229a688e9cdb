"""The flags of the command line that are not settings: what to do, and with which files."""

from absl import flags

from ccp_dml.inference.approximate_search import INDEXES
from ccp_dml.inference.export import FORMATS, QUANTIZATIONS

MODES = (
    "train",
    "tune",
    "validate",
    "describe",
    "plan",
    "table",
    "report",
    "evaluate",
    "embed",
    "search",
    "inspect",
    "export",
)


def define_command_flags(flag_values: flags.FlagValues):
    """Defines the flags that say what to do, and with which files."""
    flags.DEFINE_enum(
        "mode",
        "train",
        MODES,
        "train: train and compare the methods. tune: search for settings by validation; see "
        "--tune_space. validate: train like a trial of such a search, without measuring the test "
        "classes. describe: print the settings, the contents and splits of the data set, and draw "
        "some of its images as a network sees them. plan: print the commands of the runs of "
        "--folds and --seeds that are still missing, one per line; with --cells, those of these "
        "cells of the paper's tables, with estimated hours. table: tabulate the finished runs of "
        "--runs. report: show them on one page, report.html, with figures and images. evaluate: "
        "measure saved networks on the test classes, each alone and all concatenated. embed: write "
        "the embeddings of images to a Parquet file. search: find images in such a file. inspect: "
        "list near-duplicates and suspicious labels of a data set. export: write networks as a "
        "model that needs neither Keras nor this package.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder for the results, created if it does not exist. The same command resumes an "
        "interrupted run; results with other settings are moved to the folder 'earlier' inside it. "
        "For describe and search: folder for the picture, by default the current one. For table "
        "and evaluate: folder for the tables and evaluation.json, which are otherwise not written. "
        "For report: folder for report.html, by default the folder of --runs if there is only one.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "folds",
        [],
        "Folds to train, such as 1,2,3,4: one run for each fold and each of --seeds, in separate "
        "folders below --workdir. Overrides --fold.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "seeds", [], "Seeds to train, such as 0,1,2. Overrides --seed.", flag_values=flag_values
    )
    flags.DEFINE_integer(
        "processes",
        1,
        "Number of runs at a time, each with its share of the processor's threads or, if there are "
        "several GPUs, with one of them, or its share of them for a strategy of several devices. A "
        "TPU serves only one process.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "checkpoint_minutes",
        5.0,
        "Minutes between two checkpoints of the training, from which the same command resumes.",
        lower_bound=1e-6,
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "report",
        True,
        "Whether to write report.html when a run ends; --mode=report writes it at any time.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "cells",
        [],
        "For plan: cells of the paper's tables, such as sop/c2_ccp, all cells of a data set, such "
        "as sop, or all. --data_dir is the folder of all data sets, and runs go to folders such as "
        "sop/c2_ccp below --workdir; without --workdir only the hours are printed. Folds default "
        "to 1,2,3,4 and seeds to 0,1,2.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "measure_step",
        False,
        "For plan with --cells: whether to measure training steps on this machine's device, to "
        "estimate the hours. By default they are assumed to take as long as on the paper's "
        "RTX 2080 Ti.",
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "step_ms",
        None,
        "For plan with --cells: milliseconds of a plain step of 32 images with BN-Inception on "
        "your device, instead of measuring it.",
        lower_bound=1e-6,
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "runs",
        [],
        "For table and report: work folders of training, folders of such folders, or records of "
        "runs, runs.csv.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "baseline",
        None,
        "For table and report: the baseline of all comparisons, name:method, such as "
        "contrastive:plain. By default the methods of a folder are compared with its first method, "
        "and folders with the first folder.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "networks",
        [],
        "For evaluate, embed, search, inspect and export: files model.keras written by training, "
        "such as those of the four folds of the MLRC protocol. They include the preprocessing of "
        "images: --dataset and --data_dir are enough, and settings that contradict them are "
        "errors. Several networks are concatenated: their normalised embeddings are put side by "
        "side, and the whole is normalised.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "preset",
        "none",
        "Group of settings, which other flags override: learning rate, network, image size, "
        "warm-up, proxies, patience. small_images: from random weights, for small or grey images; "
        "fine_tune: from ImageNet weights, for photographs; paper: as in the paper's tables. "
        "--mode=describe recommends one. One of none, small_images, fine_tune, paper.",
        flag_values=flag_values,
    )
    _define_tune_flags(flag_values)
    _define_use_flags(flag_values)


def _define_tune_flags(flag_values):
    flags.DEFINE_string(
        "tune_space",
        "",
        "For tune: the settings to search and their ranges, a comma-separated list of "
        "name=uniform:low:high, name=log:low:high, name=int:low:high, name=log_int:low:high and "
        "name=choice:value|value; for parameters loss_params.margin and the like. :points at the "
        "end of a range is the number of its values in a grid. An example: "
        "learning_rate=log:1e-4:1e-2,proxies_per_class=int:1:16,miner=choice:none|semi_hard_pairs.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "tune_trials",
        40,
        "For tune: number of trials. Each trains a single --method, once for each of --folds and "
        "--seeds; its value is the mean of --monitor in validation. --processes trials run at a "
        "time. The same command resumes an interrupted search.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "tune_sampler",
        "tpe",
        ("tpe", "random", "grid"),
        "For tune: how the values of a trial are chosen, with --seed: by the results of earlier "
        "trials (a tree-structured Parzen estimator), at random, or all combinations in turn.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "tune_storage",
        None,
        "For tune: URL of a database that several machines share, such as "
        "postgresql://me@host/trials; those with the same settings divide the trials among "
        "themselves. By default the file tune.db in --workdir.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "tune_pruning",
        False,
        "For tune: whether to end a trial after some of its folds and seeds if their mean is below "
        "the median of the other trials after the same number of runs.",
        flag_values=flag_values,
    )


def _define_use_flags(flag_values):
    flags.DEFINE_string(
        "output",
        None,
        "For embed: the Parquet file to write. The same command resumes after an interruption; a "
        "file of other images or networks is moved to the folder 'earlier' beside it. For inspect: "
        "the folder for the results. For export: the folder for the model.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "format",
        "saved_model",
        FORMATS,
        "For export: the format. A SavedModel takes encoded images or pixels; ONNX and TFLite "
        "cannot decode images and take pixels.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "quantization",
        "none",
        QUANTIZATIONS,
        "For export to TFLite: weights with 16 or 8 bits, for half or a quarter of the size.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "batch_size",
        256,
        "For embed, search and inspect: number of images to embed at a time.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "gallery",
        None,
        "For search: the Parquet file of embeddings to search, as written by --mode=embed.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "query",
        None,
        "For search: the image to search for, or a folder or CSV file of several.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "k",
        10,
        "For search: number of images to find for each query. For inspect: number of neighbours "
        "that must all have a label other than the image's for it to be reported.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "exclude_self",
        False,
        "For search: whether to leave the query's own file, found by its absolute path, out of its "
        "results. Copies under other names are still found.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "index",
        "exact",
        ("exact", *INDEXES),
        "For search: exact; or approximate with faiss, by a graph (hnsw) or by short codes "
        "(ivf_pq), which are kept beside the gallery for the next search.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "json",
        False,
        "For search: whether to print the results as JSON, and nothing else.",
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "duplicate_distance",
        None,
        "For inspect: images at this distance or less are near-duplicates. By default, half "
        "the median distance from an image to its nearest neighbour.",
        lower_bound=0,
        flag_values=flag_values,
    )
