"""verl is in an environment of its own; elsewhere these files cannot even be imported."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("verl") else ["test_plugin.py", "test_runs.py"]
