"""A redis-server beside the server under test, for facts that are too many to write down."""
import shutil

from .server import Server, Target

REDIS = "redis-server"


def start_oracle(t, directives=None):
    """A redis-server of the test's own; fails if none is installed."""
    path = shutil.which(REDIS)
    assert path, f"{REDIS} is not installed"
    server = Server(Target(path, True), directives)
    t.cleanup(server.kill)
    return server
