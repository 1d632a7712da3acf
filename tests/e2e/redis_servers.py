"""One or several Redis servers as one: each key is asked for where the rule puts it, partition p on server p mod n, and
nowhere else. What lies elsewhere is left over from another list of servers."""

from collections.abc import Iterator
from typing import Any

import redis

import ids
from messages import TOPICS

PARTITIONS = TOPICS["cart.commands"]


def partition_of_key(key: str) -> int:
    """cart:<member>:…, tw:cart:<member>, and tw:<what>:<partition>… of everything else."""
    parts = key.removeprefix("tw:").split(":")
    return ids.partition_of(parts[1].encode(), PARTITIONS) if parts[0] == "cart" else int(parts[1])


def _text(key: str | bytes) -> str:
    return key.decode() if isinstance(key, bytes) else key


class RedisServers:
    """Any command of redis-py whose first argument is a key."""

    def __init__(self, uris: str) -> None:
        self.servers: list[Any] = [
            redis.Redis.from_url(
                uri, socket_timeout=10, retry_on_error=[redis.ConnectionError], health_check_interval=1
            )
            for uri in uris.split(",")
        ]

    def close(self) -> None:
        for server in self.servers:
            server.close()

    def server_of(self, key: str | bytes) -> Any:
        return self.servers[partition_of_key(_text(key)) % len(self.servers)]

    def __getattr__(self, command: str) -> Any:
        def run(key: str | bytes, *arguments: Any, **options: Any) -> Any:
            return getattr(self.server_of(key), command)(key, *arguments, **options)

        return run

    def keys_of(self, server: Any, pattern: str) -> Iterator[bytes]:
        """Those of the pattern that are on this server and belong there."""
        for key in server.scan_iter(pattern, count=1000):
            if self.server_of(key) is server:
                yield key

    def scan_iter(self, pattern: str, count: int = 1000) -> Iterator[bytes]:
        for server in self.servers:
            yield from self.keys_of(server, pattern)

    def flushall(self) -> None:
        for server in self.servers:
            server.flushall()
