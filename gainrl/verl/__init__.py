"""The suite's schedules in verl 0.9.1 (Ray, several machines). verl loads `gainrl.verl.plugin` by itself; no trl is needed."""
