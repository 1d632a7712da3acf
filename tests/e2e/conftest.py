"""Fixtures. A stack of servers serves several files, one after another (tests/run starts it); each file starts and stops
the programs."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import judge
import replay
from checker import Checker, History
from client import Client
from recorder import Recorder
from stack import PROGRAMS, Stack
from stores import Stores
from topics import Topics


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
    """The four programs run. They end with 0 afterwards, which leaks and sanitizers' findings prevent."""
    servers.start(*PROGRAMS)
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
    recorder.begin(topics.ends())
    yield recorder
    recorder.close()


@pytest.fixture(scope="session")
def history(recorder: Recorder) -> History:
    return History(recorder=recorder)


@pytest.fixture(scope="session")
def anyone(stack: Stack, history: History) -> Iterator[Client]:
    """Without a token."""
    client = Client(stack.environment["TW_EDGE_URL"], history)
    yield client
    client.close()


@pytest.fixture
def edge2(healed: Stack, history: History) -> Iterator[Client]:
    """A second edge, without a token."""
    healed.start("edge2")
    client = Client(healed.url("edge2"), history)
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
def checker(topics: Topics, stores: Stores, id_key: bytes, servers: Stack) -> Checker:
    return Checker(topics, stores, id_key, servers.logs)


@pytest.fixture
def judged(stack: Stack, recorder: Recorder) -> Callable[..., None]:
    """Fails unless these invariants hold, and cases of each were seen, in all that was asked so far."""

    def judged(*rules: str) -> None:
        programs = Path(os.environ["TW_BIN_DIR"])
        verdicts = judge.judge(stack.environment, recorder.path, stack.logs, programs, rules)
        assert all(verdict.word == "holds" for verdict in verdicts), judge.table(verdicts)

    return judged


@pytest.fixture(scope="module")
def shop(
    request: pytest.FixtureRequest, stack: Stack, anyone: Client, merchant: Client, topics: Topics, checker: Checker
) -> Iterator[replay.Shop]:
    """What there is of each kind, by the file's SHOP_SEED. Shadows, and stores that were kept, are gone before and after."""
    shop = replay.open_shop(stack, anyone, merchant, topics, checker, request.module.SHOP_SEED)
    replay.drop(stack)
    yield shop
    replay.drop(stack)
