"""Checks a student's file: `check_exercise(name, path)` in a process of its own with limits, `judge(name, function)` in this one."""
from numpyvision.exercises.judge import Verdict, judge

__all__ = ["Verdict", "judge"]
