"""A light client, which reads and writes one after the other and waits for nothing but its answers."""

import time

import httpx

from machine import Ring
from paper import percentile
from ratio import Window

REQUESTS = 100  # of a window


def windows_of(url: str, product: str, ring: Ring, count: int) -> list[Window]:
    with httpx.Client(base_url=url, timeout=15) as http:
        return [_window(http, product, ring) for _ in range(count)]


def _window(http: httpx.Client, product: str, ring: Ring) -> Window:
    path, took, laps = f"/v1/products/{product}", [], []
    for n in range(REQUESTS):
        began = time.monotonic()
        answer = http.post(f"{path}/views") if n % 2 else http.get(path)
        took.append((time.monotonic() - began) * 1000)
        assert answer.status_code in (200, 202), answer.text
        laps.append(ring.lap_ms())
    return Window(percentile(took, 0.99), percentile(laps, 0.99))
