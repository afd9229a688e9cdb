"""Trains the missing runs of a study, several side by side.

Example:
  python experiments/studies/run_study.py experiments/studies/renewal --workdir=/tmp/renewal \
      --processes=2

After an interruption, the same command continues. `tabulate_study.py` tabulates the finished runs
at any time. `--keep_recorded` also leaves out the runs in the study's `runs.csv`, so that a study
can be continued on another machine.
"""

import sys

from absl import app, flags

from ccp_dml.experiment.interruption import Interruption, RunInterruptedError
from ccp_dml.experiment.protocol import (
    missing_runs,
    prepare_data,
    process_environments,
    train_runs,
)
from ccp_dml.experiment.study import plan_study, read_study, runs_by_variant, write_flagfiles
from ccp_dml.experiment.study_runs import leave_out_recorded, read_recorded_runs
from ccp_dml.experiment.workdir import WorkdirInUseError, WorkdirLock

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the runs.", required=True)
_PROCESSES = flags.DEFINE_integer("processes", 1, "Number of runs side by side.", lower_bound=1)
_GROUPS = flags.DEFINE_list("groups", [], "The groups to train; by default all, in their order.")
_KEEP_RECORDED = flags.DEFINE_bool(
    "keep_recorded", False, "Do not train runs that are in the study's runs.csv."
)


def main(argv):
    """Trains the runs that are not finished, in the order of the study's groups."""
    if len(argv) != 2:
        sys.exit(f"name one folder with a study.json; got {' '.join(argv[1:]) or 'nothing'}")
    try:
        runs = plan_study(read_study(argv[1]), _WORKDIR.value, _GROUPS.value or None)
        if _KEEP_RECORDED.value:
            runs = leave_out_recorded(runs, read_recorded_runs(argv[1]))
        failed = _train_missing(runs)
    except (ValueError, OSError, WorkdirInUseError) as error:
        sys.exit(f"run_study: {error}")
    except RunInterruptedError as error:
        sys.exit(f"run_study: {error}; run the same command again to resume")
    if failed:
        sys.exit(f"{len(failed)} runs failed: {', '.join(run.title for run in failed)}")


def _train_missing(runs):
    """Returns the runs that failed."""
    with Interruption(), WorkdirLock(_WORKDIR.value):
        write_flagfiles(runs)
        missing = missing_runs(runs)
        print(f"{len(runs) - len(missing)} of {len(runs)} runs are finished", flush=True)
        if not missing:
            return []
        processes = min(_PROCESSES.value, len(missing))
        environments = process_environments(processes, missing[0].settings.strategy)
        for runs_of_variant in runs_by_variant(missing).values():
            prepare_data(runs_of_variant)
        return train_runs(missing, environments, ["--noreport"])


if __name__ == "__main__":
    app.run(main)
