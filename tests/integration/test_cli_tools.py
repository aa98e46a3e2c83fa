"""redis-cli and redis-benchmark, as installed, against the server."""
import re

from harness.cluster import Endpoints
from harness.resp import encode
from harness.runner import case
from harness.server import run_to_end
from harness.slots import KeyNames


def place(server):
    """Where a server, or the first of several endpoints, is found."""
    port = server.ports[0] if isinstance(server, Endpoints) else server.port
    return ["-h", server.host, "-p", str(port)]


def cli(server, *arguments, input_bytes=None, timeout_s=30.0):
    status, output = run_to_end(["redis-cli", *place(server), *map(str, arguments)],
                                input_bytes=input_bytes, timeout_s=timeout_s)
    assert status == 0, f"redis-cli {arguments}: status {status}\n{output}"
    return output


def benchmark(server, *arguments, timeout_s=150.0):
    """Runs redis-benchmark quietly; returns {test name: requests per second}."""
    status, output = run_to_end(["redis-benchmark", *place(server), "-q", *map(str, arguments)],
                                timeout_s=timeout_s)
    assert status == 0, f"redis-benchmark {arguments}: status {status}\n{output}"
    assert "rror" not in output, output
    rates = {name.strip(): float(rate) for name, rate in
             re.findall(r"(?:^|\r|\n)([A-Z][^\r\n]*): (\d+\.\d+) requests per second", output)}
    assert rates and all(rate > 0 for rate in rates.values()), output
    return rates


@case(workers=(1, 4))
def test_cli_commands(t):
    a, b = KeyNames("cli:").spread(2)
    assert cli(t.server, "SET", a, "hello world") == "OK\n"
    assert cli(t.server, "GET", a) == "hello world\n"
    assert cli(t.server, "--no-raw", "MGET", a, b) == '1) "hello world"\n2) (nil)\n'
    assert cli(t.server, "-3", "--json", "MGET", a, b) == '["hello world",null]\n'
    assert cli(t.server, "-n", 3, "--no-raw", "DBSIZE") == "(integer) 0\n"
    assert cli(t.server, "-x", "SET", b, input_bytes=b"from stdin") == "OK\n"
    assert cli(t.server, "STRLEN", b) == "10\n"
    assert cli(t.server, "-r", 5, "INCR", "times").splitlines() == list("12345")
    commands = b"MULTI\nINCR x\nINCR x\nEXEC\nGET x\nset 'quoted key' \"a\\nb\"\nGET 'quoted key'\n"
    assert cli(t.server, input_bytes=commands).splitlines() == [
        "OK", "QUEUED", "QUEUED", "1", "2", "2", "OK", "a", "b"]
    # Error replies are shown as such.
    assert "ERR unknown command" in cli(t.server, "NOSUCH")
    assert cli(t.server, "-3", "HELLO").split()[:2] == ["server", "redis"]


@case(workers=(1, 4))
def test_cli_pipe(t):
    """Mass insertion: every reply is counted, the data is there."""
    count = 20_000 if t.quick else 100_000
    stream = b"".join(encode("SET", f"pipe:{n}", n) for n in range(count))
    output = cli(t.server, "--pipe", input_bytes=stream, timeout_s=60)
    assert f"errors: 0, replies: {count}" in output, output
    assert t.client().must("DBSIZE") == count
    output = run_to_end(["redis-cli", *place(t.server), "--pipe"],
                        input_bytes=encode("SET", "a") + encode("SET", "b", 1) + encode("NOSUCH"))
    assert "errors: 2, replies: 3" in output[1], output


@case(workers=(1, 4))
def test_cli_scan_and_bigkeys(t):
    conn = t.client()
    conn.must("MSET", *[item for n in range(300) for item in (f"scan:{n}", "v" * (n + 1))])
    conn.must("MSET", *[item for n in range(50) for item in (f"other:{n}", "v")])
    assert len(cli(t.server, "--scan").split()) == 350
    assert len(cli(t.server, "--scan", "--pattern", "scan:*").split()) == 300
    output = cli(t.server, "--bigkeys")
    assert "scan:299" in output and "300 bytes" in output, output
    assert "Sampled 350 keys" in output, output
    output = cli(t.server, "--memkeys")
    assert "Biggest string found" in output and "Sampled 350 keys" in output, output


@case(workers=(1, 4))
def test_cli_latency(t):
    """Without a terminal it samples for a second and prints min, max, average, count."""
    fields = cli(t.server, "--latency", "-i", 1, "--raw").split()
    assert len(fields) == 4 and int(fields[3]) > 20, fields
    assert float(fields[0]) <= float(fields[2]) <= float(fields[1]) < 5000, fields


@case(workers=(2, 4))
def test_cli_follows_redirections(t):
    points = Endpoints(t, t.workers)
    keys = KeyNames("follow:").spread(12, t.workers)
    commands = "".join(f"SET {key} {key}-value\n" for key in keys)
    commands += "".join(f"GET {key}\n" for key in keys)
    output = cli(points, "-c", input_bytes=commands.encode())
    lines = [line for line in output.splitlines() if not line.startswith("->")]
    assert lines == ["OK"] * 12 + [f"{key}-value" for key in keys], output
    output = cli(points, "-c", "--scan", "--pattern", "nosuch*")
    assert output == "", output
    # Without -c the redirection is an error.
    assert "MOVED" in cli(points, "GET", keys[1])
    points.stop()


@case(workers=(1, 2, 4), drivers="each")
def test_benchmark(t):
    requests = 20_000 if t.quick else 100_000
    rates = benchmark(t.server, "-t", "ping,set,get,incr,mset", "-n", requests, "-c", 50,
                      "-r", 100_000)
    assert len(rates) == 6, rates
    t.note(", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))
    rates = benchmark(t.server, "-t", "set,get,incr,mset", "-n", requests * 2, "-P", 16,
                      "-r", 100_000, "-d", 64)
    assert len(rates) == 4, rates
    t.note("pipelined " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))


@case(workers=(4,))
def test_benchmark_with_threads_and_keepalive_off(t):
    requests = 5000 if t.quick else 20_000
    benchmark(t.server, "-t", "set,get", "-n", requests, "--threads", 2, "-r", 1000)
    benchmark(t.server, "-t", "set,get", "-n", requests, "-k", 0)
    benchmark(t.server, "-n", requests, "-3", "SET", "__rand_int__", "value")
    benchmark(t.server, "-n", requests, "-r", 100_000, "-P", 50, "MGET", "k:__rand_int__",
              "l:__rand_int__", "m:__rand_int__")


@case(workers=(2, 4), drivers="each")
def test_benchmark_cluster(t):
    points = Endpoints(t, t.workers)
    requests = 20_000 if t.quick else 100_000
    for extra in ((), ("-P", 16)):
        status, output = run_to_end(
            ["redis-benchmark", *place(points), "--cluster", "-q", "-t",
             "set,get,incr,mset", "-n", str(requests), "-r", "100000", *map(str, extra)],
            timeout_s=60)
        assert status == 0, output
        assert f"Cluster has {t.workers} master nodes" in output, output
        assert "rror" not in output and "MOVED" not in output, output
        assert output.count("requests per second") >= 4, output
    points.stop()
