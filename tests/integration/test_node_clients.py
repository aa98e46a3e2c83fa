"""ioredis and node-redis from npm, driven by the programs in node/."""
import os
import shutil
import subprocess

from harness.cluster import Endpoints
from harness.runner import case
from harness.server import run_to_end

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")
INSTALL_S = 240


def prepare():
    """Fetches the libraries once, exactly as the lock file names them."""
    assert shutil.which("node") and shutil.which("npm"), "node and npm are not installed"
    # npm writes it last: without it an installation was ended midway.
    if os.path.exists(os.path.join(FOLDER, "node_modules", ".package-lock.json")):
        return
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=FOLDER,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=INSTALL_S, check=False)
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")


def program(name, host, *arguments):
    prepare()
    status, output = run_to_end(["node", name, host, *map(str, arguments)],
                                timeout_s=60, cwd=FOLDER)
    assert status == 0 and output.rstrip().endswith("fine"), f"{name}: {status}\n{output}"


@case(workers=(1, 4), drivers="each", timeout=INSTALL_S + 60)
def test_ioredis(t):
    program("ioredis_plain.js", t.server.host, t.server.port)


@case(workers=(1, 4), drivers="each", timeout=INSTALL_S + 60)
def test_node_redis(t):
    program("node_redis_plain.js", t.server.host, t.server.port)


@case(workers=(2, 4), timeout=INSTALL_S + 60)
def test_ioredis_cluster(t):
    points = Endpoints(t, t.workers)
    program("ioredis_cluster.js", points.host, points.ports[0], t.workers)
    points.stop()


@case(workers=(2, 4), timeout=INSTALL_S + 60)
def test_node_redis_cluster(t):
    points = Endpoints(t, t.workers)
    program("node_redis_cluster.js", points.host, points.ports[0], t.workers)
    points.stop()
