"""Ray over several nodes for one run: each task of a Slurm job starts Ray on its node, the first also runs verl.

The first task writes Ray's address, and a token without which nobody gets in, into a file in the run's folder, which all nodes
see and its owner alone reads; the others join there, and leave when the file is gone.
"""

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gainrl.errors import InputError
from gainrl.files import read_json_object, write_atomically
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution
from gainrl.runs.verl import FOLDER, environment
from gainrl.training.verl.process import POLL, started, verl_python

FILE = "ray.json"
PATIENCE = 600.0
"""Seconds until all nodes must have joined."""
LEAVING = 3.0
"""Seconds that the other nodes have to see that the run has ended."""
_WAIT = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False)
end = time.monotonic() + float(sys.argv[3])
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    if time.monotonic() > end:
        sys.exit(f"{sum(node['Alive'] for node in ray.nodes())} of {sys.argv[2]} nodes have joined Ray")
    time.sleep(0.5)
"""


class Cluster(NamedTuple):
    """A Ray that is the run's own."""

    address: str
    token: str

    @property
    def environment(self) -> dict[str, str]:
        """Variables of all that start or use it. Left alone, Ray asks for a token only if one lies in the user's home."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}


def is_further_node(execution: Execution) -> bool:
    """Whether this process is the task of a node that only lends its GPUs to the run."""
    return execution.nodes > 1 and int(os.environ.get("SLURM_PROCID", "0")) > 0


@contextmanager
def own_cluster(config: RunConfig, execution: Execution, python: str, folder: Path) -> Iterator[Cluster | None]:
    """A Ray that spans the run's nodes, ended with the block; None for one node, where verl starts its own.

    Raises:
        InputError: the run wants several nodes, and this is no job on so many.
        RuntimeError: they did not join.
    """
    if execution.nodes == 1:
        yield None
        return
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if tasks != execution.nodes:
        raise InputError(
            f"the run takes {execution.nodes} nodes, this is a job of {tasks}; use --launcher slurm, a task a node"
        )
    cluster = Cluster(f"{_own_ip(python)}:{_free_port()}", secrets.token_hex())
    file, log = folder / FOLDER / FILE, folder / FOLDER / "ray-0.txt"
    head = ["--head", f"--port={cluster.address.rpartition(':')[2]}", "--include-dashboard=false"]
    with started(_ray_start(execution, python, head), environment(config) | cluster.environment, log):
        _tell(file, cluster)
        try:
            _wait_for_nodes(python, cluster, execution.nodes)
            yield cluster
        finally:
            file.unlink(missing_ok=True)  # the others leave before their Ray loses its head
            time.sleep(LEAVING)


def join(config: RunConfig, execution: Execution, folder: Path) -> None:
    """Lend this node to the run in ``folder`` until it has ended. Raises RuntimeError: there is no Ray to join, or it broke."""
    python, end = verl_python(), time.monotonic() + PATIENCE
    while (cluster := _told(folder)) is None:
        if time.monotonic() > end:
            raise RuntimeError(f"the run's first node wrote no address of Ray into {folder / FOLDER}")
        time.sleep(POLL)
    log = folder / FOLDER / f"ray-{os.environ['SLURM_PROCID']}.txt"
    start = _ray_start(execution, python, [f"--address={cluster.address}"])
    with started(start, environment(config) | cluster.environment, log) as process:
        while _told(folder) == cluster:
            if process.poll() is not None:
                raise RuntimeError(f"Ray ended on this node before the run did; its log: {log}")
            time.sleep(POLL)


def _ray_start(execution: Execution, python: str, arguments: list[str]) -> list[str]:
    gpus = max(1, execution.gpus) // execution.nodes
    slots = max(os.cpu_count() or 1, 8 + 4 * gpus)  # not cores: verl's actors, several a GPU, wait most of the time
    return [
        *(str(Path(python).with_name("ray")), "start", *arguments),
        *(f"--num-gpus={gpus}", f"--num-cpus={slots}", "--disable-usage-stats", "--block"),
    ]


def _wait_for_nodes(python: str, cluster: Cluster, nodes: int) -> None:
    end = time.monotonic() + PATIENCE
    host, _, port = cluster.address.rpartition(":")
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            break
        except OSError as error:
            if time.monotonic() > end:
                raise RuntimeError(f"Ray did not start on {cluster.address}: {error}") from error
            time.sleep(POLL)
    result = subprocess.run(
        [python, "-c", _WAIT, cluster.address, str(nodes), str(PATIENCE)],
        env={**os.environ, **cluster.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError((result.stderr.strip().splitlines() or ["the nodes did not join Ray"])[-1])


def _own_ip(python: str) -> str:
    """This node's address as Ray sees it."""
    program = "import ray; print(ray.util.get_node_ip_address())"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.split()[-1]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


def _job() -> str:
    """This attempt at the job: a requeued one has other nodes."""
    return f"{os.environ.get('SLURM_JOB_ID', '')}-{os.environ.get('SLURM_RESTART_COUNT', '0')}"


def _tell(file: Path, cluster: Cluster) -> None:
    def write(unfinished: Path) -> None:
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps({"address": cluster.address, "token": cluster.token, "job": _job()}) + "\n")

    write_atomically(file, write)


def _told(folder: Path) -> Cluster | None:
    try:
        written = read_json_object(folder / FOLDER / FILE)
    except (InputError, OSError):
        return None
    return Cluster(written["address"], written["token"]) if written.get("job") == _job() else None
