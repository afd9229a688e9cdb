"""`--mode=report`: shows finished runs on one page."""

from absl import flags
from etils import epath

from ccp_dml.experiment.commands.arguments import require_runs
from ccp_dml.experiment.published import find_published
from ccp_dml.experiment.run_report import write_report
from ccp_dml.experiment.table import make_tables


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Writes `report.html`, by default into the folder of `--runs` if there is only one.

    Raises:
        ValueError: If a flag is wrong, or there are no finished runs.
    """
    paths = require_runs(flag_values)
    if not workdir:
        if len(paths) > 1 or not epath.Path(paths[0]).is_dir():
            raise ValueError(
                "--workdir is missing: name a folder for the report, such as --workdir=/tmp/both"
            )
        (workdir,) = paths
    tables = make_tables(paths, flag_values.baseline, published=find_published)
    print(f"the report is {write_report(tables, workdir)}")
