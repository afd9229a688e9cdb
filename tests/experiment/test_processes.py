"""Commands in processes of their own, side by side."""

import os

import pytest

from ccp_dml.experiment.processes import EndedTask, Task, run_side_by_side


def say(folder, name, code):
    return Task(name, ["-c", f"print({name!r}); raise SystemExit({code})"], folder / name)


def test_tasks_end_with_their_codes_and_logs(tmp_path):
    tasks = iter([say(tmp_path, "first", 0), say(tmp_path, "second", 3)])
    ended = list(run_side_by_side(lambda: next(tasks, None), [os.environ] * 2))
    expected = [
        EndedTask(name, code, str(tmp_path / name / "log.txt"))
        for name, code in [("first", 0), ("second", 3)]
    ]
    assert sorted(ended) == expected
    assert (tmp_path / "second" / "log.txt").read_text() == "second\n"


def test_it_is_asked_again_when_a_task_has_ended(tmp_path):
    names, waiting = [], [say(tmp_path, "first", 0)]
    for ended in run_side_by_side(lambda: waiting.pop() if waiting else None, [os.environ]):
        names.append(ended.name)
        assert ended.log is None
        if ended.name == "first":
            waiting.append(say(tmp_path, "next", 0))
    assert names == ["first", "next"]


def test_closing_ends_what_runs(tmp_path):
    tasks = iter(
        [say(tmp_path, "quick", 0), Task("slow", ["-c", "import time; time.sleep(600)"], tmp_path)]
    )
    ended = run_side_by_side(lambda: next(tasks, None), [os.environ] * 2)
    assert next(ended).name == "quick"
    ended.close()
    with pytest.raises(StopIteration):
        next(ended)
