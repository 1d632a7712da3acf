"""What lies between the workers of a domain and their store, or between the broker and all programs, is slow, cut, silent or
narrow: see ../e2e/toxics.py."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from client import Client
from scene import BROKER, PATIENCE_S, Scene, domain_of
from stack import WORKERS, wait_until
from test_store_network import LETTERS, NARROW_KBYTES, NARROW_S, SLOW_MS, commits, letters_take_s, metric
from toxics import Proxy

LASTS_S = 3.0
CUT_AGAIN_S = 0.5


# --- stores


@contextmanager
def _befallen(scene: Scene) -> Iterator[tuple[str, Proxy]]:
    domain = scene.dice.choice(WORKERS)
    proxy = scene.proxies[domain]
    try:
        yield domain, proxy
    finally:
        proxy.heal()


def _workers(scene: Scene, domain: str) -> list[str]:
    return [name for name in scene.workers if domain_of(name) == domain]


def _commits(scene: Scene, domain: str) -> tuple[float, float]:
    counts, took_s = zip(*(commits(scene.stack, name) for name in _workers(scene, domain)), strict=True)
    return sum(counts), sum(took_s)


def slow(scene: Scene) -> str:
    with _befallen(scene) as (domain, proxy):
        proxy.add("latency", "downstream", latency=SLOW_MS)
        time.sleep(2 * SLOW_MS / 1000)  # what was on its way is not slow
        first, first_s = _commits(scene, domain)
        time.sleep(LASTS_S)
        wait_until(f"{domain} commits", lambda: _commits(scene, domain)[0] > first, PATIENCE_S)
        last, last_s = _commits(scene, domain)
    took_ms = (last_s - first_s) / (last - first) * 1000
    assert took_ms >= SLOW_MS, f"a commit of {domain} took {took_ms:.0f} ms"
    return f"{last - first:.0f} commits of {domain} took {took_ms:.0f} ms each"


def _recoveries(scene: Scene, domain: str) -> float:
    return sum(metric(scene.stack, name, "tillwire_recoveries_total") for name in _workers(scene, domain))


def cut(scene: Scene) -> str:
    with _befallen(scene) as (domain, proxy):
        before = _recoveries(scene, domain)

        def had_to_go_back() -> float:
            proxy.cut()
            return _recoveries(scene, domain) - before

        times = wait_until(f"{domain} has to go back", had_to_go_back, PATIENCE_S, CUT_AGAIN_S)
    return f"{domain} went back to its watermark {times:.0f} times"


def silent(scene: Scene) -> str:
    """Connections stand, and nothing comes through."""
    with _befallen(scene) as (domain, proxy):
        proxy.add("timeout", timeout=0)
        for name in _workers(scene, domain):
            wait_until(f"{name} misses its store", lambda n=name: not scene.stack.is_ready(n), PATIENCE_S)
    proxy.cut()
    return f"both workers of {domain} were not ready"


def narrow(scene: Scene) -> str:
    with _befallen(scene) as (domain, proxy):
        proxy.add("bandwidth", rate=NARROW_KBYTES)
        time.sleep(LASTS_S)
        took_s = letters_take_s(scene.stack, domain, proxy)
    assert took_s >= NARROW_S, f"{LETTERS >> 10} KiB came through in {took_s:.1f} s"
    return f"{LETTERS >> 10} KiB to the store of {domain} took {took_s:.1f} s"


# --- the broker


@contextmanager
def _broker_befallen(scene: Scene) -> Iterator[Proxy]:
    proxy = scene.proxies[BROKER]
    try:
        yield proxy
    finally:
        proxy.heal()


def _view_takes_s(scene: Scene) -> float:
    """A request that waits for nothing but the broker."""
    client = Client(scene.stack.url(scene.dice.choice(scene.edges)), scene.shop.recorder)
    try:
        began = time.monotonic()
        answer = client.view(scene.shop.products[0])
        assert answer.status_code == 202, answer.text
        return time.monotonic() - began
    finally:
        client.close()


def broker_slow(scene: Scene) -> str:
    with _broker_befallen(scene) as proxy:
        proxy.add("latency", "downstream", latency=SLOW_MS)
        time.sleep(LASTS_S)
        took_s = _view_takes_s(scene)
    assert took_s >= SLOW_MS / 1000, f"a view was accepted in {took_s * 1000:.0f} ms"
    return f"a view was accepted in {took_s * 1000:.0f} ms"


def _records(scene: Scene) -> int:
    return sum(scene.topics.ends().values())


def broker_unheard(scene: Scene) -> str:
    """It has what it was sent, and nobody is told. Then connections end, and what had no answer is sent again."""
    with _broker_befallen(scene) as proxy:
        proxy.add("timeout", "downstream", timeout=0)
        time.sleep(2 * SLOW_MS / 1000)  # what was on its way has come
        before = _records(scene)
        count = wait_until("a record nobody is told of", lambda: _records(scene) - before, PATIENCE_S)
    proxy.cut()
    return f"{count} records were written whose acknowledgements were cut off"


def broker_silent(scene: Scene) -> str:
    with _broker_befallen(scene) as proxy:
        proxy.add("timeout", timeout=0)
        for name in scene.edges:
            wait_until(f"{name} misses the broker", lambda n=name: not scene.stack.is_ready(n), PATIENCE_S)
    proxy.cut()
    return "no edge was ready"
