"""Fixtures. A stack of servers serves several files, one after another (tests/run starts it); each file starts and stops
the programs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import replay
from broker import Broker
from client import Client
from commands import Commands, commands_of
from faults import SEED, sample_of
from fold import Fold
from judge import Judge, Judged
from recorder import Recorder
from stack import PROGRAMS, Stack
from stores import Stores
from topics import Topics


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    """Of the tests that are marked as `sampled` a file runs EVERYDAY in the everyday check, by the seed."""
    dropped: list[pytest.Function] = []
    for module in {item.module for item in items}:
        sampled = [item for item in items if item.module is module and item.get_closest_marker("sampled")]
        if sampled:
            kept = sample_of(sampled, min(module.EVERYDAY, len(sampled)), module.__name__)
            dropped += [item for item in sampled if item not in kept]
    items[:] = [item for item in items if item not in dropped]
    config.hook.pytest_deselected(items=dropped)


@pytest.fixture(scope="session")
def servers() -> Iterator[Stack]:
    """Only the four servers, with the schema applied."""
    missing = [name for name in ("TW_STATE_DIR", "TW_BIN_DIR") if name not in os.environ]
    if missing:
        pytest.fail(f"{' and '.join(missing)} must be set: these tests are started by tests/run", pytrace=False)
    stack = Stack(Path(os.environ["TW_STATE_DIR"]))
    yield stack
    stack.end()


@pytest.fixture(scope="session")
def stack(servers: Stack) -> Iterator[Stack]:
    """The four programs run, and the second workers of the file before are missed. They end with 0 afterwards, which leaks
    and sanitizers' findings prevent."""
    servers.start(*PROGRAMS)
    Broker(servers).await_rest()
    yield servers
    servers.end()


@pytest.fixture
def healed(stack: Stack) -> Iterator[Stack]:
    """For tests that stop servers or programs: everything runs again afterwards."""
    yield stack
    stack.heal()


@pytest.fixture(scope="session")
def recorder(servers: Stack, topics: Topics) -> Iterator[Recorder]:
    """Of every request of every client, for judge.py."""
    folder = servers.state / "histories"
    folder.mkdir(mode=0o700, exist_ok=True)
    recorder = Recorder(folder / f"{os.getpid()}.jsonl")
    kinds = ("commands", "events", "dlq")
    recorder.begin({at: end for kind in kinds for at, end in topics.ends(kind).items()}, servers.logs)
    yield recorder
    recorder.close()


@pytest.fixture(scope="session")
def anyone(stack: Stack, recorder: Recorder) -> Iterator[Client]:
    """Without a token."""
    client = Client(stack.environment["TW_EDGE_URL"], recorder)
    yield client
    client.close()


@pytest.fixture
def edge2(healed: Stack, recorder: Recorder) -> Iterator[Client]:
    """A second edge, without a token."""
    healed.start("edge2")
    client = Client(healed.url("edge2"), recorder)
    yield client
    client.close()


@pytest.fixture(scope="session")
def merchant(stack: Stack, anyone: Client) -> Client:
    """With the scope to write products."""
    return anyone.as_caller(stack.twctl("token", "issue", "--scope", "products:write", "--name", "e2e").strip())


@pytest.fixture
def shopper(anyone: Client) -> Client:
    """A new member, logged in."""
    return anyone.new_caller()


@pytest.fixture(scope="session")
def product(merchant: Client) -> str:
    """Somewhere to look at: an active product of 199.00."""
    return merchant.new_product()


@pytest.fixture(scope="session")
def topics(servers: Stack) -> Iterator[Topics]:
    topics = Topics(servers.environment["TW_KAFKA"])
    yield topics
    topics.close()


@pytest.fixture(scope="session")
def stores(servers: Stack) -> Iterator[Stores]:
    stores = Stores(servers.environment)
    yield stores
    stores.close()


@pytest.fixture(scope="session")
def id_key(servers: Stack) -> bytes:
    return bytes.fromhex(Path(servers.environment["TW_ID_KEY_FILE"]).read_text(encoding="utf-8").strip())


@pytest.fixture(scope="session")
def fold(topics: Topics, stores: Stores, id_key: bytes) -> Fold:
    return Fold(topics, stores, id_key)


@pytest.fixture(scope="session")
def judged(servers: Stack, recorder: Recorder, fold: Fold) -> Judged:
    """Fails unless all invariants hold in all that there is and was asked so far."""
    programs = Path(os.environ["TW_BIN_DIR"])
    return Judge(servers.environment, recorder.path, servers.logs, fold, programs).must_hold


@pytest.fixture(scope="module")
def shop(
    request: pytest.FixtureRequest, stack: Stack, anyone: Client, merchant: Client, topics: Topics, fold: Fold
) -> Iterator[replay.Shop]:
    """What there is of each kind, by the file's SHOP_SEED. Shadows, and stores that were kept, are gone before and after."""
    shop = replay.open_shop(stack, anyone, merchant, topics, fold, request.module.SHOP_SEED)
    replay.drop(stack)
    yield shop
    replay.drop(stack)


@pytest.fixture(scope="module")
def commands(stack: Stack, topics: Topics, fold: Fold, id_key: bytes) -> Commands:
    """Of a shop that has some of everything."""
    commands = commands_of(topics, fold, id_key, SEED)
    commands.fill_shop()
    return commands
