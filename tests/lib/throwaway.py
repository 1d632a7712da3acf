"""Where a stack of servers may stand that is thrown away afterwards: for benches and soaks."""

import random
import socket
import tempfile
from pathlib import Path

PORTS_PER_STACK = 100  # docker/README.md
PORTS = range(20_000, 32_000)  # below those that outgoing connections get


def state_folder(purpose: str) -> Path:
    # Not below /tmp, which is memory on some machines: an fsync would cost nothing there.
    folder = Path(tempfile.mkdtemp(prefix=f"tillwire-{purpose}-", dir="/var/tmp"))
    folder.chmod(0o755)  # PostgreSQL's own user must get in
    return folder


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_base_port() -> int:
    bases = PORTS[::PORTS_PER_STACK]
    for base in random.sample(bases, len(bases)):  # so that two who look at the same time find different ones
        if all(_is_free(port) for port in range(base, base + PORTS_PER_STACK)):
            return base
    raise OSError(f"no {PORTS_PER_STACK} free ports in a row between {PORTS.start} and {PORTS.stop}")
