"""The judge is judged: a small shop is given to it once as it is, when it must find that every invariant holds and that
it saw cases of each, and then with programs that break one rule, which it must name.

A mutant is a failpoint (include/tillwire/failpoint.h). All of them are tried at once; TW_FAULTS=all gives each a shop of its
own, too, which shows that it is the mutant of a rule that breaks it. TW_SEED repeats a run."""

import os
import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import direct
import judge
from broker import Broker
from client import Client, at_once, claims_of, some_email, some_password
from judge import Verdict
from recorder import Recorder, now_ms
from report import tell
from stack import ROOT, WORKERS, Stack, wait_until
from stores import Stores
from topics import Topics
from watch import note_rest, watched

SEED = int(os.environ.get("TW_SEED", random.randrange(1 << 32)))
EACH_ALONE = os.environ.get("TW_FAULTS") == "all"
MISSED_AT_ONCE = {"TW_INSTANCE_ID": ""}  # a worker that leaves its group
PATIENCE_S = 60
PATIENCE_WITH_A_MUTANT_S = 4


@dataclass(frozen=True)
class Mutant:
    point: str
    program: str
    breaks: str
    hit: str = "*"

    @property
    def fail(self) -> str:
        return f"mutant_{self.point}=error@{self.hit}"


MUTANTS = (
    Mutant("accepted_unsent", "edge", "I1", "7"),
    Mutant("ledger_ignored", "cart", "I2"),
    Mutant("offset_ahead", "cart", "I3"),
    Mutant("view_twice", "product", "I5"),
    Mutant("version_kept", "member", "I6"),
    Mutant("summary_lives_on", "cart", "I7"),
    Mutant("any_body", "edge", "I8"),
    Mutant("clock_of_batches", "product", "I9"),
    Mutant("revocation_ignored", "edge", "I10"),
    Mutant("good_given_up", "product", "I11", "4"),
    Mutant("password_logged", "edge", "I13"),
    Mutant("descriptor_leaked", "edge", "I14"),
    Mutant("no_default", "member", "I16"),
    Mutant("email_unfolded", "edge", "I16"),
)


class Shop:
    """A little of everything that an invariant is about. Whatever a mutant makes of it, it goes on: the judge is to say
    what is wrong."""

    def __init__(self, stack: Stack, topics: Topics, recorder: Recorder, seed: int) -> None:
        self._stack = stack
        self._topics = topics
        self._chance = random.Random(seed)
        self._anyone = Client(stack.environment["TW_EDGE_URL"], recorder)
        token = stack.twctl("token", "issue", "--scope", "products:write", "--name", "mutants").strip()
        self._merchant = self._anyone.as_caller(token)
        self._products = [self._merchant.new_product(price=f"{price}.49") for price in range(1, 5)]
        self._accounts = [self._anyone.new_member() for _ in range(2)]
        self._members = [self._anyone.as_caller(account.access_token) for account in self._accounts]
        for member in self._members:
            member.add(self._products[0], 1)

    def close(self) -> None:
        self._anyone.close()

    def _product(self) -> str:
        return self._chance.choice(self._products)

    def _key(self) -> str:
        return uuid.UUID(int=self._chance.getrandbits(128)).hex

    def ask_twice_while_carts_wait(self) -> None:
        """Both records are in the log: no ledger knows the first one yet."""
        for member in self._members:
            product, key = self._product(), self._key()
            for _ in range(2):
                member.add(product, 2, wait=False, key=key)

    def look_around(self) -> None:
        """Opens what an edge keeps open."""
        at_once(*(lambda member=member: member.get("/v1/cart") for member in self._members * 4))
        at_once(*(lambda: self._anyone.get("/v1/products") for _ in range(8)))

    def trade(self) -> None:
        for step in (
            self._browse,
            self._fill_carts,
            self._edit_members,
            self._misuse_keys,
            self._log_out,
            self._poison,
        ):
            step()

    def _browse(self) -> None:
        for _ in range(12):
            self._anyone.view(self._product())
        key, product = self._key(), self._product()
        for _ in range(2):
            self._anyone.view(product, key=key)
        self._merchant.change_product(self._products[0], wait=False, price="7.77")
        self._merchant.create_products([{"sku": f"SKU-{self._key()}", "name": "Mug", "price": "4.00", "category": "x"}])

    def _fill_carts(self) -> None:
        for member in self._members:
            for product in self._chance.sample(self._products, 3):
                member.add(product, self._chance.randint(1, 5), wait=False)
            member.set(self._products[1], 3, wait=False)
            member.remove(self._product(), wait=False)

    def _edit_members(self) -> None:
        for member in self._members:
            for name in ("Ana", "Bea", "Cem"):
                member.write("PATCH", "/v1/members/me", {"full_name": f"{name} {self._chance.randrange(100)}"})
            member.add_address()
            member.add_address(is_default=True)
        email, password = some_email(), some_password()
        self._anyone.register(email, password)
        self._anyone.register(email.upper(), some_password())  # is taken
        self._anyone.login(email, password)
        self._anyone.write("PATCH", "/v1/members/me", {"status": "ACTIVE"}, fields={"Authorization": "Bearer nobody's"})

    def _misuse_keys(self) -> None:
        member, key = self._members[0], self._key()
        member.add(self._products[0], 1, key=key)
        member.add(self._products[0], 1, key=key)
        member.add(self._products[0], 2, key=key)

    def _log_out(self) -> None:
        """And on with the token, when it must have been heard of everywhere."""
        account = self._anyone.new_member()
        member = self._anyone.as_caller(account.access_token)
        member.write("POST", "/v1/auth/logout")
        wait_until("a second is over since the event", lambda: self._is_heard_of(account.access_token), every_s=0.2)
        member.get("/v1/cart")
        member.add(self._product(), 1, wait=False)

    def _is_heard_of(self, token: str) -> bool:
        self._topics.read("member.events")
        revoked = judge.revoked_at(self._topics.records("member.events"))
        at_ms = revoked.get(claims_of(token)["jti"])
        return at_ms is not None and now_ms() > at_ms + judge.SECOND_MS + 100

    def _poison(self) -> None:
        for domain in ("member", "product", "cart"):
            content = self._chance.randbytes(40)
            self._topics.write(
                f"{domain}.commands", content[:16], content, direct.headers_of(f"{domain}.nonsense.v1"), 0
            )


def fails(mutants: tuple[Mutant, ...]) -> dict[str, str]:
    """By program, as TW_FAIL is written."""
    return {name: ",".join(m.fail for m in mutants if m.program == name) for name in {m.program for m in mutants}}


class Run:
    """A shop from nothing, all that is asked of it in one history."""

    def __init__(self, servers: Stack, stores: Stores, name: str) -> None:
        start_from_nothing(servers, stores)
        self._servers = servers
        self._stores = stores
        self._topics = Topics(servers.environment["TW_KAFKA"])
        self._history = servers.state / "histories" / f"{name}.jsonl"
        self._history.parent.mkdir(mode=0o700, exist_ok=True)
        self._history.unlink(missing_ok=True)
        self._recorder = Recorder(self._history)
        self._recorder.begin(self._topics.ends())
        servers.start(*WORKERS, settings=MISSED_AT_ONCE)
        servers.start("edge")
        self._shop = Shop(servers, self._topics, self._recorder, SEED)

    def close(self) -> None:
        self._shop.close()
        self._servers.end()
        self._recorder.close()
        self._topics.close()

    def verdicts(self, *mutants: Mutant) -> list[Verdict]:
        """What the judge says when programs break these rules from now on."""
        with watched(self._servers, self._recorder):
            self._start_anew(fails(mutants))
            self._shop.look_around()
            note_rest(self._servers, self._recorder)
            self._shop.trade()
            wait_until("everything is folded", self._everything_is_folded, PATIENCE_S)
        note_rest(self._servers, self._recorder)
        patience_s = PATIENCE_WITH_A_MUTANT_S if mutants else PATIENCE_S
        programs, logs = Path(os.environ["TW_BIN_DIR"]), self._servers.logs
        verdicts = judge.judge(self._servers.environment, self._history, logs, programs, patience_s=patience_s)
        names, broken = " ".join(mutant.point for mutant in mutants) or "none", sorted(judge.broken(verdicts))
        tell(f"TW_SEED={SEED} mutants: {names}; broken rules: {' '.join(broken) or 'none'}")
        print(judge.table(verdicts))
        assert all(f'"mutant_{mutant.point}"' in self._servers.log(mutant.program) for mutant in mutants)
        return verdicts

    def _start_anew(self, fail: dict[str, str]) -> None:
        """Carts are away for a while, so that they find what was asked twice."""
        anew = fail.keys() | {"cart"}
        self._servers.stop(*anew)
        for name in sorted(anew - {"cart"}):
            self._start(name, fail)
        self._shop.ask_twice_while_carts_wait()
        self._start("cart", fail)

    def _start(self, name: str, fail: dict[str, str]) -> None:
        self._servers.start(name, fail=fail.get(name, ""), settings=MISSED_AT_ONCE if name in WORKERS else None)

    def _everything_is_folded(self) -> bool:
        ends = self._topics.ends()
        return all(
            mark == ends[f"{domain}.commands", p]
            for domain in WORKERS
            for p, mark in enumerate(self._stores.watermarks(domain))
        )


def start_from_nothing(servers: Stack, stores: Stores) -> None:
    Broker(servers).forget_all()
    stores.empty()


@pytest.fixture(scope="module", autouse=True)
def nothing_stays(servers: Stack, stores: Stores) -> Iterator[None]:
    """What mutants wrote is nobody else's to find: neither in logs of programs nor in topics and stores."""
    lengths = {log: log.stat().st_size for log in servers.logs.glob("*.log")}
    yield
    start_from_nothing(servers, stores)
    for log in servers.logs.glob("*.log"):
        os.truncate(log, lengths.get(log, 0))


class Shops:
    """One at a time, on the same servers."""

    def __init__(self, servers: Stack, stores: Stores) -> None:
        self._servers = servers
        self._stores = stores
        self._name = ""
        self._run: Run | None = None

    def run(self, name: str) -> Run:
        """The one of that name, opened when it is not the last one that was asked for."""
        if not self._run or name != self._name:
            self.close()
            self._name, self._run = name, Run(self._servers, self._stores, name)
        return self._run

    def close(self) -> None:
        if self._run:
            self._run.close()
            self._run = None


@pytest.fixture(scope="module")
def shops(servers: Stack, stores: Stores) -> Iterator[Shops]:
    shops = Shops(servers, stores)
    yield shops
    shops.close()


def test_every_mutant_in_the_programs_is_tried_and_every_invariant_has_one() -> None:
    sources = [path for folder in ("lib", "api-edge", "workers") for path in (ROOT / folder).rglob("*.c")]
    points = [name for path in sources for name in re.findall(r'tw_failpoint\("mutant_(\w+)"\)', path.read_text())]
    assert sorted(points) == sorted(mutant.point for mutant in MUTANTS)
    assert {mutant.breaks for mutant in MUTANTS} == set(judge.RULES)


def test_the_judge_finds_that_honest_programs_keep_every_rule(shops: Shops) -> None:
    verdicts = shops.run("shop").verdicts()
    assert {verdict.name: verdict.word for verdict in verdicts} == {name: "holds" for name in ("settled", *judge.RULES)}


def test_the_judge_names_every_rule_that_is_broken(shops: Shops) -> None:
    assert judge.broken(shops.run("shop").verdicts(*MUTANTS)) >= set(judge.RULES)


if EACH_ALONE:

    @pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.point)
    def test_the_judge_names_what_a_mutant_breaks(shops: Shops, mutant: Mutant) -> None:
        assert mutant.breaks in judge.broken(shops.run(mutant.point).verdicts(mutant))
