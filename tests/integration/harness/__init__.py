"""What the whole-server tests share: a RESP client, server processes, the runner, load helpers."""
