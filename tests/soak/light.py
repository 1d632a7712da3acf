"""A light client, which reads and writes one after the other and waits for nothing but its answers."""

import time

import httpx

from machine import Ring
from paper import percentile
from ratio import Window

REQUESTS, AT_MOST_S = 100, 3.0  # of a window
REFUSED_MS = 15_000.0  # to be refused is as bad as the longest wait


def windows_of(url: str, product: str, ring: Ring, count: int) -> list[Window]:
    with httpx.Client(base_url=url, timeout=REFUSED_MS / 1000) as http:
        return [_window(http, product, ring) for _ in range(count)]


def _window(http: httpx.Client, product: str, ring: Ring) -> Window:
    path, took, laps = f"/v1/products/{product}", [], []
    ends_at = time.monotonic() + AT_MOST_S
    while len(took) < REQUESTS and time.monotonic() < ends_at:
        began = time.monotonic()
        answer = http.post(f"{path}/views") if len(took) % 2 else http.get(path)
        took_ms = (time.monotonic() - began) * 1000
        assert answer.status_code in (200, 202, 503), answer.text
        took.append(REFUSED_MS if answer.status_code == 503 else took_ms)
        laps.append(ring.lap_ms())
    return Window(percentile(took, 0.99), percentile(laps, 0.99))
