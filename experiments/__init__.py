"""One module a table, figure or ablation: a function ``experiment(scale)`` that returns its `Experiment`."""
