"""What the server costs when nothing happens."""
import resource
import time

from harness.runner import case

CLIENTS = 1000
BOUND = 0.05  # of a core; the target is 0.005, but the machine is shared


@case(workers=(1, 4), drivers="each")
def test_idle_cpu(t):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CLIENTS + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    server = t.start()
    conns = []
    try:
        for number in range(CLIENTS):
            conns.append(server.client())
            assert conns[-1].must("SET", f"idle:{number}", number) == b"OK"
        # The measurement is of a stretch of time in which nobody asks for anything.
        began, before = time.monotonic(), server.cpu_s()
        time.sleep(t.seconds(3, 10))
        used, took = server.cpu_s() - before, time.monotonic() - began
        share = used / took
        t.note(f"{share:.2%} of a core with {CLIENTS} idle clients")
        assert share < BOUND, f"{share:.2%} of a core with {CLIENTS} idle clients"
        for number in (0, CLIENTS // 2, CLIENTS - 1):
            assert conns[number].must("GET", f"idle:{number}") == str(number).encode()
    finally:
        for conn in conns:
            conn.close()
    server.stop()
