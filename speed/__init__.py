"""Benchmarks: speed as a ratio to the alternative, measured in the same run. ``python -m speed.NAME`` repeats one."""
