"""The command line, `python -m ccp_dml.main`: flags in, one command out."""

import errno
import os
import sys
from collections.abc import Sequence
from logging import getLogger
from typing import NoReturn

import tensorflow as tf
from absl import app, flags, logging
from etils import epath

from ccp_dml.checks import check_one_line
from ccp_dml.experiment import TrainingFailedError
from ccp_dml.experiment.commands import COMMANDS
from ccp_dml.experiment.commands.train import RunsFailedError
from ccp_dml.experiment.flags import command_line, define_flags
from ccp_dml.experiment.hardware import WorkerLostError, reserve_accelerators
from ccp_dml.experiment.help import format_help
from ccp_dml.experiment.interruption import RunInterruptedError
from ccp_dml.experiment.protocol import FLAGFILE
from ccp_dml.experiment.run_report import ReportFailedError
from ccp_dml.experiment.workdir import WorkdirInUseError

_PATHS = ("workdir", "runs", "networks", "output", "gallery", "query")


def _first_line(error):
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _explain_error(error):
    # TensorFlow raises the same error for a full disk and for full memory.
    if any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT)):
        reason = _first_line(error).rpartition("}} ")[-1]
        return f"{reason}; finished work is kept: free some space and run the same command again"
    if isinstance(error, OSError):
        return str(error)
    if not isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return _first_line(error)
    return f"out of memory; use smaller batches or embeddings: {_first_line(error)}"


def _stop(message, exit_code=2) -> NoReturn:
    print(f"ccp_dml: {message}", file=sys.stderr)
    sys.exit(exit_code)


def main(argv: Sequence[str]):
    """Runs the command that the flags specify.

    Args:
        argv: The rest of the command line after the flags: the program's name.
    """
    if len(argv) > 1:
        _stop(f"unexpected argument {argv[1]!r}: settings are flags, --name=value; see --help")
    _refuse_nul()
    _expand_home()
    workdir = flags.FLAGS.workdir
    if workdir and "://" not in workdir:
        # Makes printed and saved paths valid in any folder.
        workdir = os.path.abspath(workdir)
    reserve_accelerators()
    try:
        check_one_line("workdir", workdir or "")
        COMMANDS[flags.FLAGS.mode](flags.FLAGS, workdir)
    except RunInterruptedError as error:
        message = f"{error}; progress is saved: to resume, run {_resuming_command(workdir)}"
        _stop(message, exit_code=128 + error.signal_number)
    except WorkerLostError as error:
        command = f"{_resuming_command(workdir)} for every worker"
        _stop(f"{error}; to resume from the last checkpoint, run {command}", exit_code=1)
    except RunsFailedError as error:
        _stop(error, exit_code=1)
    except (TrainingFailedError, WorkdirInUseError) as error:
        _stop(error)
    except ValueError as error:
        logging.debug("Where the error occurred:", exc_info=error)
        _stop(_first_line(error))
    except ReportFailedError as error:
        _stop(f"{error}: {_explain_error(error.__cause__)}")
    except (OSError, MemoryError, tf.errors.ResourceExhaustedError) as error:
        _stop(_explain_error(error))
    except tf.errors.NotFoundError as error:
        _stop(f"a file no longer exists: {_first_line(error)}")
    except RuntimeError as error:
        # JAX's error has a class of its own only in its newest versions.
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        _stop(_explain_error(MemoryError(_first_line(error))))
    except KeyboardInterrupt:
        _stop("interrupted", exit_code=130)


def _resuming_command(workdir):
    if flags.FLAGS.mode != "train":
        return "the same command again"
    is_protocol = max(len(flags.FLAGS.folds), len(flags.FLAGS.seeds)) > 1
    flags_path = epath.Path(workdir) / (FLAGFILE if is_protocol else "flags.txt")
    if not flags_path.exists():
        return "the same command again"
    return command_line("-m", "ccp_dml.main", f"--flagfile={flags_path}")


def _refuse_nul():
    # Unlike a command line, a flagfile can contain NUL characters, which paths must not.
    for name, value in flags.FLAGS.flag_values_dict().items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and "\0" in each:
                _stop(f"--{name} cannot contain a NUL character; got {each!r}")


def _expand_home():
    # Shells leave ~ as it is within --name=~/folder; data_dir and weights are expanded where they
    # are read.
    for name in _PATHS:
        flag = flags.FLAGS[name]
        if isinstance(flag.value, list):
            flag.value = [os.path.expanduser(path) for path in flag.value]
        elif flag.value:
            flag.value = os.path.expanduser(flag.value)


def _parse_flags(argv):
    if "--help" in argv[1:]:
        print(format_help(), end="")
        sys.exit()
    try:
        return flags.FLAGS(argv)
    except UnicodeDecodeError as error:
        _stop(f"a flagfile is not a text file: {error}")
    except flags.CantOpenFlagFileError as error:
        _stop(
            f"{str(error).removeprefix('ERROR:: ')}; paths, including those inside flagfiles, are "
            "relative to the current folder"
        )
    except flags.Error as error:
        _stop(f"{str(error).removeprefix('ERROR:: ')}; see --help")


def run():
    """Entry point."""
    logging.set_verbosity(logging.INFO)
    # TensorFlow reports every tensor that devices exchange.
    tf.get_logger().setLevel("WARNING")
    # JAX reports every kind of device that it does not find.
    getLogger("jax").setLevel("WARNING")
    define_flags()
    app.run(main, flags_parser=_parse_flags)


if __name__ == "__main__":
    run()
