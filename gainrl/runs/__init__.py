"""What a run is: its config, its folder, and its place in an experiment's plan. Nothing here imports torch."""
