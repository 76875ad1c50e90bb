"""Test-only: runs a command of verl's on two Ray nodes, which are two raylets of this machine."""

import subprocess
import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    node = {"num_cpus": 12, "num_gpus": 1}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    cluster.wait_for_nodes()
    address = f"+ray_kwargs.ray_init.address='{cluster.address}'"
    code = subprocess.call([sys.executable, *sys.argv[1:], address, "ray_kwargs.ray_init.num_cpus=null"])
    cluster.shutdown()
    sys.exit(code)
