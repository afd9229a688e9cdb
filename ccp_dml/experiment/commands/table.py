"""`--mode=table`: tabulates finished runs."""

from absl import flags

from ccp_dml.experiment.commands.arguments import require_runs
from ccp_dml.experiment.published import find_published
from ccp_dml.experiment.table import write_tables


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Prints the tables of `--runs`, and writes them if a folder is given.

    Raises:
        ValueError: If a flag is wrong, or there are no finished runs.
    """
    paths = require_runs(flag_values)
    print(write_tables(paths, workdir, flag_values.baseline, published=find_published))
    if workdir:
        print(f"\nthe tables are in {workdir}: table.md, table.csv, differences.csv, runs.csv")
