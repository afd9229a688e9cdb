"""What the command line says about its flags, flagfiles and folders, especially wrong ones."""

import sys

import pytest

from tests.experiment.saved_runs import save_run
from tests.main_command import run


def test_help_lists_the_flags_and_examples():
    shown = run("--help").stdout
    for name in ("folds", "seeds", "processes", "checkpoint_minutes", "learning_rate"):
        assert f"\n  --{name}" in shown
    assert shown.index("\nData:\n") < shown.index("\n  --dataset (default: digits)\n")
    assert "\n  --[no]flip (default: true)\n" in shown
    assert "python -m ccp_dml.main --flagfile=experiments/letters.flags" in shown


def test_a_flagfile_that_is_not_there(command):
    assert "'missing.flags'" in command("--flagfile=missing.flags", "--workdir=/tmp/unused")


def test_a_flagfile_inside_a_flagfile_that_is_not_there(run_command, tmp_path, monkeypatch, capsys):
    (tmp_path / "flagfiles").mkdir()
    (tmp_path / "flagfiles" / "outer.flags").write_text("--flagfile=inner.flags\n")
    (tmp_path / "flagfiles" / "inner.flags").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_command("--flagfile=flagfiles/outer.flags")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "'inner.flags'" in line
    assert "relative to the current folder" in line


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--dataset=mnist",
            "dataset must be one of digits, glyphs, cub200_2011, cars196, sop, inshop, folder; "
            "got 'mnist'",
        ),
        ("--method=plain,xbn", "method must be one of plain, ccp, xbm, dvml, ccp+xbm, ccp+dvml"),
        ("--method=", "method must name at least one of plain, ccp"),
        ("--method=plain+ccp", "ccp+xbm+dvml; got 'plain+ccp'"),
        (
            "--miner=easiest",
            "miner must be one of none, hard, semi_hard, easy, hardest_pairs, semi_hard_pairs",
        ),
        ("--miner_params=margin=1", "miner none has no parameter 'margin'; it takes none"),
        ("--miner=hard --miner_params=margin=1", "miner hard has no parameter 'margin'"),
        ("--loss_wrapper=softmax", "loss_wrapper must be one of none, multi_level_distance"),
        (
            "--loss_wrapper=proxy_synthesis --loss_wrapper_params=gamma=1",
            "loss_wrapper proxy_synthesis has no parameter 'gamma'; it takes alpha, ratio",
        ),
        (
            "--loss=soft_triple --loss_params= --loss_wrapper=virtual_softmax",
            "SoftTriple needs 10 per class",
        ),
        ("--loss=soft_triple --loss_params= --method=xbm", "compares samples with proxies only"),
        ("--first_phase_weights=1,1,1", "first_phase_weights must be 4 numbers; got 1.0,1.0,1.0"),
        ("--first_phase_weights=1,1,1,-1", "first_phase_weights must be at least 0; got -1.0"),
        ("--first_phase_weights=1,1,1,x", "could not convert string to float: 'x'"),
        (
            "--method=plain --learning_rate_multipliers=proxies=100",
            "the learning rate multiplier 'proxies' matches no weight",
        ),
        (
            "--learning_rate_multipliers=proxies=-1",
            "learning_rate_multipliers of proxies must be at least 0; got -1.0",
        ),
        (
            "--method=dvml --learning_rate_multipliers=spread_mean=2 --figure_rounds=1",
            "the learning rate multiplier 'spread_mean' matches no weight",
        ),
        ("--monitor=accuracy", "monitor must be one of map_at_r, r_precision, precision_at_1"),
        ("--plateau_factor=1", "plateau_factor must be below 1; got 1.0"),
        ("--method=ccp,ccp", "once; got ccp,ccp"),
        ("--loss=tripel", "contrastive, cosine_contrastive, triplet, multi_similarity"),
        ("--loss_params=margin=1", "it takes positive_margin, negative_margin"),
        ("--loss_params=name=1", "contrastive has no parameter 'name'"),
        ("--loss_params=positive_margin=nan", "positive_margin must be finite; got nan"),
        ("--loss_params=positive_margin", "not of the form name=number"),
        ("--dataset=sop", "contains, or will contain, the folder sop"),
        ("--dataset=folder --data_dir=/nowhere", "data_dir /nowhere does not exist"),
        ("--dataset=folder --data_dir=. --resize_size=9", "at least image_size, 227; got 9"),
        (
            "--mode=show",
            "one of <train|tune|validate|describe|plan|table|report|evaluate|embed|search|",
        ),
        ("--dataset_params=letters=3", "digits has no parameter 'letters'; it takes none"),
        ("--dataset_params=letters", "not of the form name=number"),
        (
            "--weights=vgg",
            "weights must be none, imagenet, glyphs or the path of a .weights.h5 or .pth",
        ),
        ("--weights=imagenet", "for bn_inception and the networks of keras.applications; got"),
        (
            "--backbone=vgg16",
            "or of the form hub:preset or module:callable; got 'vgg16': did you mean",
        ),
        ("--backbone=my_networks:tiny", "importable: No module named 'my_networks'"),
        ("--backbone=resnet50", "ResNet50 cannot be made for images of shape (8, 8, 1)"),
        ("--backbone=resnet50 --weights=imagenet", "take images with 3 channels"),
        # Reported before data are looked for.
        (
            "--dataset=sop --data_dir=/nowhere --backbone=bn_inception --weights=imagenet",
            "put it at ",
        ),
        ("--scaling=rgb", "scaling must be one of auto, unit, symmetric, raw, torch, bgr; got"),
        ("--learning_rate=-1", "learning_rate must be above 0; got -1.0"),
        ("--learning_rate=fast", "could not convert string to float: 'fast'"),
        ("--learning_rate=nan", "learning_rate must be finite; got nan"),
        ("--seed=5000000000", "seed must be at most 4294967295"),
        ("--beta_2=1", "beta_2 must be below 1; got 1.0"),
        ("--workdir=s3://nowhere/x", "workdir s3://nowhere/x cannot be written to"),
        ("--seed=-1", "seed must be at least 0; got -1"),
        ("--classes_per_batch=6", "a batch of 6 classes cannot be drawn from 5 classes"),
        ("--validation_fraction=1", "validation_fraction must be below 1; got 1.0"),
        ("--proxies_per_class=1000000000000", "out of memory; use smaller batches or embeddings"),
        ("--samples_per_class=1000000000000", "must be at most 65536; got 1000000000000"),
        ("--pool_size=1000000000000", "pool_size must be at most 65536; got 1000000000000"),
        ("--data_dir=/shoes", "choose the data set folder for your own images; got /shoes"),
        ("--random_erasing=0.5", "augmentation is for images in files; those of digits are in mem"),
        ("--validation=classes", "validation needs at least 2 classes; got 1"),
        ("--lerning_rate=1", "Did you mean: learning_rate"),
        ("word", "unexpected argument 'word'"),
        ("--workdir=", "--workdir is missing"),
        ("--mode=embed", "--output is missing: name a file for the embeddings"),
        ("--mode=embed --output=unused.parquet", "--networks is missing: name a trained network"),
        ("--mode=embed --output=x.parquet --networks=nowhere.keras", "the network nowhere.keras"),
        ("--mode=search", "--gallery is missing: name a file, such as --gallery=gallery.parquet"),
        (
            "--mode=search --gallery=a.parquet",
            "--query is missing: name a file, such as --query=image.jpg",
        ),
        ("--mode=search --index=flat", "should be one of <exact|hnsw|ivf_pq>"),
        ("--mode=search --k=0", "integer"),
        ("--mode=inspect", "--networks is missing: name a trained network"),
        ("--mode=inspect --duplicate_distance=-1", "non-negative"),
    ],
)
def test_problems_a_user_can_cause(flag, message, command, tmp_path):
    assert message in command(f"--workdir={tmp_path / 'unused'}", *flag.split(" "))
    assert not (tmp_path / "unused").exists()


def test_a_workdir_that_cannot_be_written_to(command, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in command(f"--workdir={tmp_path / 'file' / 'results'}")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--dataset_params=letters=3", "it takes train_letters, samples_per_letter"),
        ("--dataset_params=train_letters=nan", "train_letters must be finite; got nan"),
        ("--dataset_params=train_letters=1", "a whole number from 2 to 400; got 1.0"),
    ],
)
def test_parameters_of_the_data_set(flag, message, command, tmp_path):
    assert message in command("--dataset=glyphs", f"--workdir={tmp_path / 'unused'}", flag)
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("flag", ["workdir", "data_dir", "weights", "networks", "runs"])
def test_a_flagfile_can_hold_no_nul(flag, command, tmp_path):
    (tmp_path / "flags").write_text(f"--{flag}={tmp_path}/a\0b\n")
    message = command(f"--flagfile={tmp_path / 'flags'}")
    # Before Python 3.11, the reader of lists refuses a NUL itself.
    by_reader = sys.version_info < (3, 11) and flag in ("networks", "runs")
    expected = f"--{flag} cannot contain a NUL character; got '{tmp_path}/a\\x00b'"
    assert ("line contains NUL" if by_reader else expected) in message


def test_the_home_folder_may_be_abbreviated(tmp_path, run_command, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    save_run(tmp_path / "home" / "run", {"seed": 0, "plain": {"map_at_r": 0.5}}, ["plain"])
    run_command("--mode=table", "--runs=~/run", "--workdir=~/tables")
    assert (tmp_path / "home" / "tables" / "table.md").exists()
    assert not (tmp_path / "~").exists()


def test_folders_of_results_have_names_of_one_line(command, tmp_path):
    message = command(f"--workdir={tmp_path}/a\nb")
    assert "workdir must be a single line, because settings are saved in lines; got " in message
    assert f"'{tmp_path}/a\\nb'" in message
    assert not list(tmp_path.iterdir())


def test_a_flagfile_that_is_not_text(command, tmp_path):
    (tmp_path / "binary").write_bytes(bytes(range(128, 256)))
    assert "not a text file" in command(f"--flagfile={tmp_path / 'binary'}")
