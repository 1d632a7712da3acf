"""What happens to programs and servers during a soak. Each shows that it really happened: what it returns says how it
was seen. It returns when it is over; whether all is well again is asked by whoever made it happen."""

import json
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import networks
import test_poison
from client import Client
from messages import TOPICS
from scene import PATIENCE_S, Scene, domain_of
from stack import ROOT, WORKERS, Stack, wait_until
from topics import Record

FROZEN_S = 12.0  # twice the session's time-out
OUTAGE_S = (5.0, 10.0)
DAY_S = 86_400
SERVERS = {"kafka": None, "postgres": "member", "mongo": "product", "redis": "cart"}  # whose store it is
REPEATS = 5


# --- programs


def kill_worker(scene: Scene) -> str:
    return _kill(scene, scene.dice.choice(scene.workers))


def kill_edge(scene: Scene) -> str:
    return _kill(scene, scene.dice.choice(scene.edges))


def _kill(scene: Scene, name: str) -> str:
    scene.stack.kill(name)  # looks at how it ended
    scene.start(name)
    return f"{name} ended by SIGKILL"


def freeze_worker(scene: Scene) -> str:
    """Past its session: its twin takes its partitions, and its own next commit is refused."""
    name = scene.dice.choice(scene.workers)
    twin = next(other for other in scene.workers if domain_of(other) == domain_of(name) and other != name)
    everything = TOPICS[f"{domain_of(name)}.commands"]
    scene.stack.signal(name, signal.SIGSTOP)
    try:
        began = time.monotonic()
        wait_until(f"{twin} has all", lambda: scene.stack.partitions_of(twin) == everything, PATIENCE_S)
        time.sleep(max(0.0, FROZEN_S - (time.monotonic() - began)))
    finally:
        scene.stack.signal(name, signal.SIGCONT)
    return f"{name} stood still, {twin} had all {everything} partitions"


def rebalance(scene: Scene) -> str:
    domain = scene.dice.choice(WORKERS)
    name = f"{domain}3"
    scene.start(name)
    wait_until(f"{name} gets partitions", lambda: scene.stack.partitions_of(name) > 0, PATIENCE_S)
    held = scene.stack.partitions_of(name)
    time.sleep(2)
    scene.stack.stop(name)
    return f"{name} came, had {held} partitions, and went"


def reload(scene: Scene) -> str:
    names = [*scene.workers, *scene.edges]
    for name in names:
        scene.stack.reload(name)
    return f"{len(names)} logs tell of it"


def clock_jumps(scene: Scene) -> str:
    """Its log is the witness."""
    name, ahead_s = scene.dice.choice(scene.workers), scene.dice.choice((-DAY_S, -3600, 3600, DAY_S))
    elsewhere = {"LD_PRELOAD": str(_elsewhere(scene.stack.state)), "ASAN_OPTIONS": "verify_asan_link_order=0"}
    scene.restart(name, ELSEWHERE_AHEAD_S=str(ahead_s), **elsewhere)
    wait_until(f"{name} listens and writes its log", lambda: _told(scene, name), PATIENCE_S)
    line = json.loads(_told(scene, name)[-1])
    written = datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
    seen_s = (written - datetime.now(timezone.utc)).total_seconds()
    assert abs(seen_s - ahead_s) < 600, f"the clock of {name} is {seen_s:.0f} s ahead, not {ahead_s}"
    time.sleep(5)
    scene.restart(name)
    return f"{name} wrote its log {ahead_s} s ahead"


def _told(scene: Scene, name: str) -> list[str]:
    """Whole lines of its log, once it listens."""
    lines = scene.stack.log(name).splitlines(keepends=True) if scene.stack.is_listening(name) else []
    return [line for line in lines if line.endswith("\n")]


def _elsewhere(folder: Path) -> Path:
    """The one of the debug build comes with the sanitizers' tests; this one goes into programs that are deployed."""
    library = folder / "elsewhere.so"
    if not library.exists():
        source = ROOT / "tests" / "lib" / "elsewhere.c"
        words = ["cc", "-shared", "-fPIC", "-O2", "-D_GNU_SOURCE", str(source), "-o", str(library)]
        subprocess.run(words, check=True, capture_output=True, text=True)
    return library


# --- servers


def stop_server(scene: Scene) -> str:
    return _take_away(scene, "stop")


def kill_server(scene: Scene) -> str:
    return _take_away(scene, "kill")


def pause_server(scene: Scene) -> str:
    return _take_away(scene, "pause")


def _take_away(scene: Scene, how: str) -> str:
    """All edges say that they miss it."""
    server, stack = scene.dice.choice(sorted(SERVERS)), scene.stack
    domain = SERVERS[server]
    if domain and how == "kill":
        scene.marks.may_lose(domain)  # the stand-in for MongoDB has no journal
    {"stop": stack.stop_server, "kill": stack.kill_server, "pause": stack.pause_server}[how](server)
    began = time.monotonic()
    try:
        for edge in scene.edges:
            wait_until(f"{edge} misses {server}", lambda name=edge: _says_no(stack, name), PATIENCE_S)
        time.sleep(max(0.0, scene.dice.uniform(*OUTAGE_S) - (time.monotonic() - began)))
    finally:
        (stack.resume_server if how == "pause" else stack.start_server)(server)
        if domain and how == "kill":
            scene.marks.may_lose(domain)
    return f"{server} ({how}): {len(scene.edges)} edges were not ready"


def _says_no(stack: Stack, name: str) -> bool:
    return stack.is_listening(name) and not stack.is_ready(name)


def empty_redis(scene: Scene) -> str:
    before = sum(scene.stores.watermarks("cart"))
    scene.marks.may_lose("cart")
    keys = sum(server.dbsize() for server in scene.stores.redis.servers)
    for server in scene.stores.redis.servers:
        server.flushdb()
    scene.marks.may_lose("cart")
    assert before and keys, "there was nothing to lose"
    return f"{keys} keys were gone"


# --- what comes along


def send_again(scene: Scene) -> str:
    """The same request to every edge, and its record to its topic a second time."""
    client = Client(scene.stack.url(scene.edges[0]), scene.shop.recorder)
    key = uuid.UUID(int=scene.dice.getrandbits(128)).hex
    product = scene.dice.choice(scene.shop.products)
    try:
        answers = [client.view(product, key=key) for _ in range(REPEATS)]
    finally:
        client.close()
    told = {answer.json()["command_id"] for answer in answers if answer.status_code == 202}
    assert len(told) == 1, f"one key was told {told}"
    record = wait_until("its record", lambda: _record_of(scene, told.copy().pop()), PATIENCE_S)
    for _ in range(REPEATS):
        scene.topics.write(record.topic, record.key, record.value, list(record.headers), record.partition)
    return f"{len(answers)} answers name one command, {REPEATS} more records of it"


def _record_of(scene: Scene, command_id: str) -> Record | None:
    scene.topics.read("product.commands")
    found = (r for r in scene.topics.records("product.commands") if r.command_id == command_id)
    return next(found, None)


def poison(scene: Scene) -> str:
    return poison_of(scene, [scene.poisons.draw() for _ in range(REPEATS)])


def poison_of(scene: Scene, names: list[str]) -> str:
    member = str(uuid.uuid4())
    poisons = test_poison.poisons(member)
    placed = {name: test_poison.write(scene.topics, member, poisons[name]) for name in names}
    for name, (partition, offset) in placed.items():
        wait_until(
            f"{name} ({partition}/{offset}) is a dead letter",
            lambda at=(partition, offset): test_poison.letters(scene.topics, *at),
            PATIENCE_S,
        )
    scene.poisoned += len(names)
    return f"{', '.join(names)}: dead letters"


TROUBLES: dict[str, Callable[[Scene], str]] = {
    "kill -9 a worker": kill_worker,
    "kill -9 an edge": kill_edge,
    "a worker stands still for 12 s": freeze_worker,
    "a server stops": stop_server,
    "a server is killed": kill_server,
    "a server hangs": pause_server,
    "a third worker comes and goes": rebalance,
    "SIGHUP to all": reload,
    "a worker's clock jumps": clock_jumps,
    "requests and records again": send_again,
    "poison in the topics": poison,
    "Redis is emptied": empty_redis,
    "a store answers 200 ms later": networks.slow,
    "connections to a store are cut": networks.cut,
    "connections to a store fall silent": networks.silent,
    "connections to a store are narrow": networks.narrow,
    "the broker answers 200 ms later": networks.broker_slow,
    "the broker's acknowledgements are cut off": networks.broker_unheard,
    "connections to the broker fall silent": networks.broker_silent,
}
