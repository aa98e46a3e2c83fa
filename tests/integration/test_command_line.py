"""How the program is called: arguments, files, standard input, and refusals that say why."""
import os
import socket
import subprocess

from harness.resp import Conn
from harness.runner import case
from harness.server import Server, free_ports, poll, run_to_end


def refused(t, arguments, *needles, config_text=None, redis_needles=None):
    """The program must end by itself with a status other than 0 and name every needle."""
    directory = t.temp_dir()
    command = [t.target.path]
    if config_text is not None:
        path = os.path.join(directory, "bad.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.write(config_text)
        command.append(path)
    status, output = run_to_end(command + arguments, cwd=directory)
    assert status not in (0, None) and status > 0, f"status {status}\n{output}"
    wanted = redis_needles if t.as_redis and redis_needles is not None else needles
    for needle in wanted:
        assert needle in output, f"{needle!r} is not named in:\n{output}"
    return output


@case(workers=(1,))
def test_version_and_help(t):
    status, output = run_to_end([t.target.path, "--version"])
    assert status == 0 and any(ch.isdigit() for ch in output), output
    assert t.as_redis or "ollux" in output, output
    assert run_to_end([t.target.path, "-v"])[1] == output
    status, output = run_to_end([t.target.path, "--help"])
    assert (status == 0 or t.as_redis) and "--port" in output, (status, output)
    assert run_to_end([t.target.path, "-h"])[1] == output


@case(workers=(1,))
def test_unknown_directives_refuse_to_start(t):
    refused(t, ["--nosuchdirective", "1"], "nosuchdirective")
    text = "port 0\n\n# a comment\nnosuchdirective yes\n"
    refused(t, [], "nosuchdirective", "4", "bad.conf", config_text=text,
            redis_needles=["nosuchdirective", "line 4"])


@case(workers=(1,))
def test_bad_values_refuse_to_start(t):
    for directive, value in [("port", "70000"), ("port", "x"), ("timeout", "-1"),
                             ("maxclients", "0"), ("loglevel", "loud"), ("maxmemory", "12zb"),
                             ("daemonize", "maybe"), ("databases", "0"),
                             ("maxmemory-policy", "mine"), ("unixsocketperm", "999"),
                             ("tcp-keepalive", "no"), ("protected-mode", "2")]:
        refused(t, [], directive, "2", config_text=f"# first\n{directive} {value}\n",
                redis_needles=[directive, "line 2"])
    refused(t, [], "timeout", config_text="timeout\n")
    refused(t, [], "timeout", config_text="timeout 1 2\n")


@case(workers=(1,))
def test_unbalanced_quotes_and_missing_files(t):
    refused(t, [], "2", config_text="# one\nrequirepass \"open\n", redis_needles=["line 2"])
    refused(t, ["/nonexistent/pollux.conf"], "/nonexistent/pollux.conf")
    refused(t, [], "/nonexistent/part.conf", config_text="include /nonexistent/part.conf\n")
    refused(t, ["--dir", "/nonexistent/dir"], "/nonexistent/dir", "dir")


@case(workers=(1,), pollux=True)
def test_bad_pollux_values(t):
    for directive, value in [("workers", "-1"), ("workers", "100000"), ("net-driver", "pigeon"),
                             ("per-core-endpoints", "perhaps"), ("per-core-port-base", "70000"),
                             ("worker-cpus", "x")]:
        refused(t, [], directive, "1", "bad.conf", config_text=f"{directive} {value}\n")


@case(workers=(1,), pollux=True)
def test_features_that_are_not_there_are_refused_by_name(t):
    """Directives of Redis are taken with the value that means off, and refused with any other."""
    for directive, value in [("appendonly", "yes"), ("save", "60 1"), ("cluster-enabled", "yes"),
                             ("replicaof", "127.0.0.1 6379")]:
        refused(t, [], directive, config_text=f"{directive} {value}\n")
    server = Server(t.target, {"workers": 1, "net-driver": t.driver},
                    config_text='appendonly no\nsave ""\ncluster-enabled no\n')
    t.cleanup(server.kill)
    server.stop()


def config_of(server, *names):
    with server.client() as conn:
        return [conn.must("CONFIG", "GET", name)[1] for name in names]


@case(workers=(1,))
def test_file_with_everything(t):
    directory = t.temp_dir()
    part = os.path.join(directory, "part.conf")
    with open(part, "w", encoding="utf-8") as out:
        out.write("tcp-keepalive 111\ntimeout 7\n")
    text = (f"# comment\n\n   timeout   5\n\tinclude {part}\n"
            'slowlog-max-len "77"\nmaxmemory 3mb\nLOGLEVEL verbose\n'
            "requirepass 'single \\'quoted\\''\n"
            "client-output-buffer-limit normal 1mb 512kb 60\n")
    server = t.start(config_text=text, protocol_password="single 'quoted'")
    assert config_of(server, "timeout", "tcp-keepalive", "slowlog-max-len", "maxmemory",
                     "loglevel") == [b"7", b"111", b"77", b"3145728", b"verbose"]
    assert b"normal 1048576 524288 60" in config_of(server, "client-output-buffer-limit")[0]
    server.stop()


@case(workers=(1,))
def test_escapes_in_double_quotes(t):
    server = t.start(config_text='requirepass "a\\x20b\\t\\"c\\\\"\n',
                     protocol_password='a b\t"c\\')
    assert config_of(server, "requirepass") == [b'a b\t"c\\']
    server.stop()


@case(workers=(1,))
def test_memory_units(t):
    for text, number in [("1000", 1000), ("1k", 1000), ("1kb", 1024), ("1m", 10**6),
                         ("1mb", 2**20), ("1g", 10**9), ("1gb", 2**30), ("2GB", 2**31),
                         ("5B", 5)]:
        server = t.start({"proto-max-bulk-len": None}, config_text=f"maxmemory {text}\n"
                         "maxmemory-policy allkeys-lru\n")
        assert config_of(server, "maxmemory") == [str(number).encode()], text
        server.stop()


@case(workers=(1,))
def test_arguments_override_the_file(t):
    server = t.start({"timeout": 9}, config_text="timeout 5\nslowlog-max-len 11\n")
    assert config_of(server, "timeout", "slowlog-max-len") == [b"9", b"11"]
    server.stop()
    # Several values after one name, and the same name twice: the last one counts.
    server = t.start({"client-output-buffer-limit": ["normal", "1mb", "1mb", "10"],
                      "bind": ["127.0.0.1", "-::1"]})
    assert b"normal 1048576 1048576 10" in config_of(server, "client-output-buffer-limit")[0]
    server.stop()


@case(workers=(1,))
def test_configuration_from_standard_input(t):
    directory = t.temp_dir()
    port = free_ports()
    command = [t.target.path, "-", "--timeout", "44"]
    text = f'port {port}\nbind 127.0.0.1\nsave ""\ndir {directory}\nslowlog-max-len 55\n'
    if not t.as_redis:
        text += f"workers 1\nnet-driver {t.driver}\n"
    with open(os.path.join(directory, "output"), "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output,
                                   stderr=subprocess.STDOUT, cwd=directory)
    try:
        process.stdin.write(text.encode())
        process.stdin.close()

        def connect():
            try:
                return Conn(("127.0.0.1", port))
            except OSError:
                assert process.poll() is None, "the server ended"
                return None
        with poll(connect, 20, what="connection") as conn:
            assert conn.must("CONFIG", "GET", "timeout")[1] == b"44"
            assert conn.must("CONFIG", "GET", "slowlog-max-len")[1] == b"55"
        process.terminate()
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@case(workers=(1,))
def test_refused_port_and_address_end_with_status_one(t):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        output = refused(t, ["--port", str(port), "--bind", "127.0.0.1"], str(port))
        assert "in use" in output, output
        status, _ = run_to_end([t.target.path, "--port", str(port), "--bind", "127.0.0.1"])
        assert status == 1
    output = refused(t, ["--port", str(free_ports()), "--bind", "203.0.113.7"], "203.0.113.7")
    assert "assign" in output, output
