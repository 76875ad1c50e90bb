"""A run by verl: its inputs written, verl started and followed in an environment of its own, its record turned into the run
folder. `gainrl.runs.verl` translates the settings; the plug-in that verl loads is `gainrl.verl`."""
