"""Trains what is missing of a study, several runs side by side.

    python experiments/studies/run_study.py experiments/studies/renewal --workdir=/tmp/renewal \
        --processes=2

The same command goes on where it was interrupted. `tabulate_study.py` makes tables of what is
finished, at any time.
"""

import argparse
import os
import pathlib
import sys

# For their messages, before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from ccp_dml.experiment.interruption import Interruption, RunInterruptedError  # noqa: E402
from ccp_dml.experiment.protocol import (  # noqa: E402
    missing_runs,
    prepare_data,
    process_environments,
    train_runs,
)
from ccp_dml.experiment.study import (  # noqa: E402
    plan_study,
    read_study,
    runs_by_variant,
    write_flagfiles,
)
from ccp_dml.experiment.workdir import WorkdirLock  # noqa: E402


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=pathlib.Path, help="folder with study.json")
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="folder for the runs")
    parser.add_argument("--processes", type=int, default=1, help="runs side by side")
    parser.add_argument("--groups", help="some of the groups, comma-separated; by default all")
    arguments = parser.parse_args()
    workdir = arguments.workdir.resolve()
    study = read_study(arguments.study)
    groups = arguments.groups.split(",") if arguments.groups else None
    runs = plan_study(study, workdir, groups)
    with Interruption(), WorkdirLock(workdir):
        write_flagfiles(runs)
        missing = missing_runs(runs)
        print(f"{len(runs) - len(missing)} of {len(runs)} runs are finished", flush=True)
        if not missing:
            return
        environments = process_environments(min(arguments.processes, len(missing)))
        for runs_of_variant in runs_by_variant(missing).values():
            prepare_data(runs_of_variant)
        failed = train_runs(missing, environments, ["--noreport"])
    if failed:
        sys.exit(f"{len(failed)} runs failed: {', '.join(run.title for run in failed)}")


if __name__ == "__main__":
    try:
        main()
    except RunInterruptedError as error:
        sys.exit(f"{error}; the same command goes on")
