"""A process that asks a server for PONG all the time and tells how long the longest answer took.

Runs until its standard input ends, then prints one line of JSON. Being a process of its own, it
measures the server and not the attacker's interpreter.
"""
import json
import select
import socket
import sys
import time

PAUSE_S = 0.005
GIVE_UP_S = 20.0
PING = b"*1\r\n$4\r\nPING\r\n"
PONG = b"+PONG\r\n"


def connect(port, password):
    conn = socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP_S)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if password:
        word = password.encode()
        conn.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(word), word))
        if conn.recv(100) != b"+OK\r\n":
            raise OSError("AUTH failed")
    return conn


def exact(conn, size):
    data = b""
    while len(data) < size:
        part = conn.recv(size - len(data))
        if not part:
            raise OSError("closed by the server")
        data += part
    return data


def main():
    port, connections, password = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    conns = [connect(port, password) for _ in range(connections)]
    longest, rounds, problem = 0.0, 0, None
    print("ready", flush=True)
    try:
        asked = True
        while asked:
            asked = not select.select([sys.stdin], [], [], PAUSE_S)[0]  # one round after the end
            began = time.monotonic()
            for conn in conns:
                conn.sendall(PING)
            for conn in conns:
                if exact(conn, len(PONG)) != PONG:
                    raise OSError("no PONG")
            longest = max(longest, time.monotonic() - began)
            rounds += 1
    except OSError as error:
        longest = max(longest, time.monotonic() - began)
        problem = str(error) or type(error).__name__
    print(json.dumps({"longest_s": longest, "rounds": rounds, "problem": problem}))


main()
