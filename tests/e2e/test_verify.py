"""`twctl verify`: one hash for all that a store holds, and where its log says otherwise. Whatever is altered behind the
worker's back is found and named; whoever is served meanwhile notices nothing."""

import hashlib
import json
import re
import signal
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
import pytest

import altered
import ids
import replay
from altered import STATES, Change, made
from client import Client, at_once, some_email
from fold import Fold
from judge import Judged
from replay import DOMAINS, DONE, REFUSED, UNREACHED, USAGE, Said, Shop, Traffic, holding, settle, verify, writes
from stack import WORKERS, Stack, wait_until
from stores import Stores

SHOP_SEED = 7
LEASE_S = 30
PENDING = "policy_after_consume=sleep:3600000"  # so the policy ends no change of address


# --- a hash


def test_the_same_store_has_the_same_hash_and_the_log_says_so(shop: Shop, stack: Stack) -> None:
    for domain in DOMAINS:
        first = verify(stack, domain).must_be(DONE)
        again = replay.agrees(stack, domain)
        assert again.hash == first.hash and again.watermarks == first.watermarks
        assert again.compared > 20
        assert sum(again.watermarks) > 30
    everything = verify(stack, "all", "--against-log").must_be(DONE)
    assert everything.out.count("the log says the same of all") == len(DOMAINS)


def test_a_change_changes_the_hash_and_nothing_else_does(
    shop: Shop, healed: Stack, stores: Stores, fold: Fold
) -> None:
    fold.drained()
    before = {domain: verify(healed, domain).must_be(DONE) for domain in DOMAINS}
    healed.stop(*WORKERS)
    for domain in DOMAINS:
        assert verify(healed, domain).must_be(DONE).hash == before[domain].hash, "without a worker"
    healed.start(*WORKERS)
    settle(stores)
    for domain in DOMAINS:
        said = replay.agrees(healed, domain)
        assert (said.hash, said.watermarks) == (before[domain].hash, before[domain].watermarks), "and after its restart"
    shop.caller.write("PATCH", "/v1/members/me", {"full_name": "Another"}, wait=True)
    assert replay.agrees(healed, "member").hash != before["member"].hash
    assert replay.agrees(healed, "cart").hash == before["cart"].hash


def test_the_dump_is_what_the_hash_is_of_and_for_its_owner_only(shop: Shop, stack: Stack, tmp_path: Path) -> None:
    for domain in DOMAINS:
        path = tmp_path / domain
        said = verify(stack, domain, "--dump", str(path)).must_be(DONE)
        content = path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == said.hash
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        lines = content.decode().splitlines()
        names = [line.split(" {")[0] for line in lines]
        entities = [name for name in names if not name.startswith("command ")]
        rows = [name for name in names if name.startswith("command ")]
        assert names == entities + rows and entities and rows
        kinds = list(dict.fromkeys(name.split()[0] for name in entities))
        for kind in kinds:
            of_kind = [name for name in entities if name.split()[0] == kind]
            assert of_kind == sorted(of_kind) and len(set(of_kind)) == len(of_kind)
        in_order = [(int(row.split()[2]), row.split()[1]) for row in rows]
        assert in_order == sorted(set(in_order))


def bodies(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, body = line.partition(" {")
        yield name.split()[0], json.loads("{" + body)


def test_the_dump_has_every_field_of_the_schemas(shop: Shop, stack: Stack, tmp_path: Path) -> None:
    seen: dict[str, set[str]] = {}
    for domain in DOMAINS:
        verify(stack, domain, "--dump", str(tmp_path / domain)).must_be(DONE)
        for kind, body in bodies(tmp_path / domain):
            seen.setdefault(kind, set()).update(body)
    assert seen.pop("command") == altered.ROW_FIELDS
    wanted = {kind: {field["name"] for field in state["fields"]} for kind, state in STATES.items()}
    wanted["member"] -= {"email_change"}  # nobody is changing theirs
    assert seen == wanted


def test_wrong_usage_and_what_is_not_reached_have_codes_of_their_own(shop: Shop, stack: Stack, tmp_path: Path) -> None:
    assert "there is no domain 'shop': member, product, cart or all" in verify(stack, "shop").must_be(USAGE).err
    assert "a dump is of one domain" in verify(stack, "all", "--dump", str(tmp_path / "x")).must_be(USAGE).err
    assert "redis_uri" in verify(stack, "cart", TW_REDIS_URI="").must_be(USAGE).err
    nobody = "redis://127.0.0.1:1/0"
    assert "cart" in verify(stack, "cart", TW_REDIS_URI=nobody).must_be(UNREACHED).err
    deaf = {"TW_KAFKA": "127.0.0.1:1", "TW_BROKER_TIMEOUT_MS": "1000"}
    assert deaf["TW_KAFKA"] in verify(stack, "cart", "--against-log", **deaf).must_be(UNREACHED).err
    missing = str(tmp_path / "none" / "dump")
    assert missing in verify(stack, "cart", "--dump", missing).must_be(USAGE).err


def elsewhere(stack: Stack) -> dict[str, dict[str, str]]:
    """By domain: settings with a name that was mistyped; of PostgreSQL there is no such database then."""
    mongo, _, options = stack.environment["TW_MONGO_URI"].partition("?")
    redis = stack.environment["TW_REDIS_URI"].rpartition("/")[0]
    return {"product": {"TW_MONGO_URI": f"{mongo}_e?{options}"}, "cart": {"TW_REDIS_URI": f"{redis}/7"}}


@pytest.mark.parametrize("words", ((), ("--against-log",)))
def test_a_store_that_nobody_folded_into_is_refused_and_left_alone(
    shop: Shop, stack: Stack, words: tuple[str, ...]
) -> None:
    for domain, settings in elsewhere(stack).items():
        refused = verify(stack, domain, *words, **settings).must_be(REFUSED)
        assert "nothing was ever folded into this store, and its log has" in refused.err
        assert "is mongo_uri the right one" in refused.err or "is redis_uri the right one" in refused.err
        there = Stores({**stack.environment, **settings})
        assert not there.mongo.list_collection_names() if domain == "product" else not there.redis.servers[0].dbsize()
        there.close()


# --- while it is held


def test_under_traffic_nothing_is_lost_and_the_log_always_agrees(
    shop: Shop,
    stack: Stack,
    stores: Stores,
    anyone: Client,
    merchant: Client,
    product: str,
    judged: Judged,
) -> None:
    with Traffic(*writes(anyone, merchant, product)) as traffic:
        for domain in DOMAINS:
            first = replay.agrees(stack, domain)
            wait_until(f"the {domain} worker went on", lambda: stores.watermarks(domain) != first.watermarks)
            again = replay.agrees(stack, domain)
            assert again.hash != first.hash, "it looked at a store that changes"
    assert min(traffic.counts) > 5
    judged()


def is_frozen(stack: Stack, worker: str, partitions: int = 6) -> bool:
    return f"tillwire_frozen_partitions {partitions}" in stack.admin(worker, "/metrics").text.splitlines()


def is_free(stack: Stack, worker: str) -> bool:
    return is_frozen(stack, worker, 0)


def test_a_held_store_takes_commands_that_have_their_effect_afterwards(
    shop: Shop, stack: Stack, anyone: Client, product: str, stores: Stores, tmp_path: Path
) -> None:
    caller = anyone.new_caller()
    with holding(stack, "cart", tmp_path) as held:
        before = stores.watermarks("cart")
        response = caller.add(product, 3, wait=False)
        assert response.status_code == 202, response.text
        wait_until("the worker waits", lambda: is_frozen(stack, "cart"))
        wait_until("the worker is ready, and nobody restarts it for that", lambda: stack.is_ready("cart"))
        assert caller.get("/v1/cart").status_code == 200, "reads go on"
        second = verify(stack, "cart").must_be(REFUSED)
        assert "is held by another verify, rebuild or snapshot" in second.err
        assert stores.watermarks("cart") == before
        held.drain().must_be(DONE)
    wait_until("it has its effect", lambda: caller.get(response.headers["Location"]).json()["status"] == "succeeded")
    wait_until("nothing is held", lambda: is_free(stack, "cart"))


def test_an_interrupted_verify_lets_go_at_once(
    shop: Shop, stack: Stack, anyone: Client, product: str, tmp_path: Path
) -> None:
    caller = anyone.new_caller()
    for number in (signal.SIGINT, signal.SIGTERM):
        with holding(stack, "cart", tmp_path) as held:
            held.interrupt(number)
            said = replay.end(held.process)
        assert said.code == UNREACHED and "interrupted" in said.err, str(said)
        assert caller.add(product, 1).status_code == 200
        verify(stack, "cart").must_be(DONE)


def test_a_verify_that_was_killed_holds_nothing_for_longer_than_its_lease(
    shop: Shop, stack: Stack, anyone: Client, product: str, tmp_path: Path
) -> None:
    caller = anyone.new_caller()
    for domain in DOMAINS:
        (tmp_path / domain).mkdir()
        with holding(stack, domain, tmp_path / domain) as held:
            wait_until(f"{domain} waits", partial(is_frozen, stack, domain))
            held.interrupt(signal.SIGKILL)
            assert held.process.wait(20) == -signal.SIGKILL
    writes_of: dict[str, Callable[[], httpx.Response]] = {
        "member": lambda: caller.write("PATCH", "/v1/members/me", {"full_name": "Ana"}, wait=True),
        "product": lambda: caller.rate(product, 3),
        "cart": lambda: caller.add(product, 1),
    }
    for domain, write in writes_of.items():
        wait_until(f"{domain} goes on", lambda: write().status_code in (200, 201), 2 * LEASE_S)  # noqa: B023
        assert "was frozen by somebody who is gone" in stack.log(domain)
        wait_until(f"all of {domain} goes on", partial(is_free, stack, domain), 2 * LEASE_S)
        replay.agrees(stack, domain)


def test_of_two_at_once_one_is_told_of_the_other(shop: Shop, stack: Stack) -> None:
    """Whoever comes second waits for nothing: both end soon, and at least one of them with the hash."""
    processes = [replay.begin(stack, "verify", "product", "--against-log") for _ in range(3)]
    said = [replay.end(process) for process in processes]
    assert any(one.code == DONE for one in said), [str(one) for one in said]
    for one in said:
        assert one.code == DONE or (one.code == REFUSED and "is held by another" in one.err), str(one)


# --- stores that were altered

# What a column is called where it is not called so in schemas/state.
NAMES = {
    ("member_addresses", "id"): "address_id",
    ("jwt_tokens", "id"): "token_id",
    ("tw_ledger", "command_type"): "type",
    ("tw_ledger", "cause_offset"): "offset",
    ("tw_ledger", "at"): "decided_at",
}
PLACES = {
    "members": ("member", "id", ""),
    "member_addresses": ("member", "member_id", r"addresses\[0\]\."),
    "jwt_tokens": ("member", "member_id", r"tokens\[0\]\."),
    "tw_email_changes": ("member", "member_id", r"email_change\."),
    "tw_email_claims": ("member_claim", "id", ""),
    "tw_ledger": ("command", "id", ""),
}
# These say whose it is: it is not where it was, and somewhere else instead.
MOVES = {
    *(("members", "id"), ("member_addresses", "member_id"), ("jwt_tokens", "member_id")),
    *(("tw_email_changes", "member_id"), ("tw_email_claims", "id"), ("tw_ledger", "id"), ("tw_ledger", "partition")),
}
SECRET = ("password_hash", "token_hash")
TURNED = "set_byte(last_hash, 0, 255 - get_byte(last_hash, 0))"


# Judges of what a verify said: empty when it is right, else what is wrong.
Judge = Callable[[Said], str]


def has_line(said: Said, pattern: str) -> str:
    found = said.code == REFUSED and re.search(f"^{pattern}$", said.out, re.MULTILINE)
    return "" if found and re.search(r": \d+ of \d+ differ from the log$", said.out, re.MULTILINE) else str(said)


def found_at(said: Said, domain: str, name: str, field: str) -> str:
    """It names this field of this aggregate."""
    secret = field.rpartition(".")[2] in SECRET
    wanted = rf"{field} is another one than the log says" if secret else rf"{field} (is|has) .*, the log says .*"
    return has_line(said, rf"{domain}: {re.escape(name)}(/\S+)?( in partition \d)?: {wanted}")


def moved(said: Said) -> str:
    """Something is told to be where it should not be, or not to be where it should."""
    return has_line(said, r"\w+: .* (is missing|is not in the log|has \d+ elements, the log says \d+)")


def told_of(said: Said, what: str) -> str:
    return has_line(said, rf"\w+: {re.escape(what)}.*( is missing|, the log says .*)")


def not_in_the_log(said: Said, name: str) -> str:
    return has_line(said, rf"\w+: {re.escape(name)}.* is not in the log")


def shown_wrong(said: Said, words: str) -> str:
    """The store is as the log says; what readers see is not."""
    is_told = any(line.startswith(f"cart: {words}") for line in said.out.splitlines())
    is_all = said.code == REFUSED and "the log says the same of all" in said.out
    return "" if is_told and is_all else f"not {words!r}: {said}"


def cannot_be_read(said: Said) -> str:
    return "" if said.code == REFUSED and "a ledger row's '_id' is" in said.err else str(said)


def not_told(said: Said) -> str:
    return str(said) if "guard" in said.out else ""


def judge_of(collection: str, name: str) -> Judge | None:
    """Of fields of documents that say where something is; None: of any other field."""
    if name == "guard":
        return not_told  # the worker's own: which record was the last one to change it
    if collection == "tw_ledger" and name in ("_id", "partition", "command_id"):
        return cannot_be_read
    return moved if name in ("_id", "product_id", "member_id") else None


@pytest.fixture(scope="module")
def still(stack: Stack, shop: Shop, anyone: Client, stores: Stores, fold: Fold) -> Iterator[Stack]:
    """Nobody works on the stores, whose log says the same of them. A member is changing their address."""
    account = anyone.new_member()
    fold.drained()
    stack.stop("member")
    stack.start("member", fail=PENDING, ready=False)  # which it is not without its policy
    asked = anyone.as_caller(account.access_token).change_email(some_email(), account.password, wait=False)
    assert asked.status_code == 202, asked.text
    wait_until("it is under way", lambda: stores.rows("select 1 from tw_email_changes"), 60)
    settle(stores)
    stack.stop("product", "cart")
    stack.kill("member")
    for domain in DOMAINS:
        replay.agrees(stack, domain)
    yield stack
    stack.heal()


def name_of(collection: str, document: dict[str, Any]) -> str:
    if collection == "tw_ledger":
        return f"command {document['_id'].partition('/')[2]}"
    if collection == "tw_ratings":
        return f"product_rating {document['_id']}"
    return f"product {ids.product_id_of(document['_id'].binary)}"


Tries = Iterator[tuple[str, Change, Judge]]


class Alterations:
    """Tries them on one store, and keeps what a verify did not say of them."""

    def __init__(self, stack: Stack, domain: str) -> None:
        self._stack = stack
        self._domain = domain
        self.tried: Counter[str] = Counter()
        self.wrong: dict[str, list[str]] = {}

    def try_at_once(self, *many: Tries) -> None:
        """The first of each, then the second of each: of different records, which are told side by side."""
        for these in zip_longest(*many):
            tries = [one for one in these if one]
            with ExitStack() as undo:
                for _, change, _ in tries:
                    undo.enter_context(made(change))
                said = verify(self._stack, self._domain, "--against-log")
            for what, change, judge in tries:
                complaint = judge(said)
                self.tried[what] += 1
                self.wrong.setdefault(what, []).extend([f"{change.name}: {complaint}"] if complaint else [])

    def end(self) -> "Alterations":
        """All was put back."""
        replay.agrees(self._stack, self._domain)
        return self


def tries_of_table(stores: Stores, table: str) -> Tries:
    kind, key, prefix = PLACES[table]
    for row, change in altered.column_changes(stores, table):
        name = prefix + NAMES.get((table, change.name), change.name)
        found = partial(found_at, domain="member", name=f"{kind} {row[key]}", field=name)
        yield table, change, moved if (table, change.name) in MOVES else found
    row, change = altered.row_change(stores, table)
    yield table, change, partial(told_of, what=f"{kind} {row[key]}")


def tries_of_collection(stores: Stores, collection: str, alone: bool) -> Tries:
    """`alone`: of what makes a document unreadable, so that nothing else is told."""
    what = f"{collection} of products"
    for document, change in altered.field_changes(stores, collection):
        name = NAMES.get((collection, change.name), change.name)
        found = partial(found_at, domain="product", name=name_of(collection, document), field=name)
        judge = judge_of(collection, change.name) or found
        if alone == (judge is cannot_be_read):
            yield what, change, judge
    if not alone:
        document, change = altered.document_change(stores, collection)
        yield what, change, partial(told_of, what=name_of(collection, document))


def tries_of_cart(stores: Stores, member: str) -> Tries:
    for change in altered.cart_changes(stores, member):
        yield "carts", change, partial(found_at, domain="cart", name=f"cart {member}", field=re.escape(change.name))


def tries_of_cart_commands(stores: Stores) -> Tries:
    for command_id, change in altered.row_changes(stores):
        name = f"command {command_id}"
        gone, found = partial(told_of, what=name), partial(found_at, domain="cart", name=name, field=change.name)
        yield "ledger of carts", change, found if change.name else gone


def tries_of_shown(changes: Iterator[tuple[Change, str]]) -> Tries:
    for change, words in changes:
        yield "readers' keys", change, partial(shown_wrong, words=words)


def tries_of_added(what: str, added: Iterator[tuple[str, Change]]) -> Tries:
    for name, change in added:
        yield what, change, partial(not_in_the_log, name=name)


def alter_members(stack: Stack, stores: Stores, _: Shop) -> Alterations:
    tries = Alterations(stack, "member")
    tries.try_at_once(
        *(tries_of_table(stores, table) for table in PLACES), tries_of_added("added rows", altered.added_rows(stores))
    )
    return tries.end()


def alter_products(stack: Stack, stores: Stores, _: Shop) -> Alterations:
    tries = Alterations(stack, "product")
    tries.try_at_once(
        *(tries_of_collection(stores, collection, False) for collection in altered.COLLECTIONS),
        tries_of_added("added documents", altered.added_documents(stores)),
    )
    tries.try_at_once(tries_of_collection(stores, "tw_ledger", True))
    return tries.end()


def alter_carts(stack: Stack, stores: Stores, shop: Shop) -> Alterations:
    tries = Alterations(stack, "cart")
    tries.try_at_once(
        tries_of_cart(stores, shop.member),
        tries_of_cart_commands(stores),
        tries_of_added("added keys", altered.added_keys(stores)),
    )
    tries.try_at_once(*(tries_of_shown(changes) for changes in altered.readers_changes(stores, shop.member)))
    return tries.end()


WHAT = {
    **{table: 4 for table in PLACES},
    **{f"{collection} of products": 6 for collection in altered.COLLECTIONS},
    "carts": 14,
    "ledger of carts": len(altered.ROW_FIELDS) + 1,
    "added rows": 3,
    "added documents": 3,
    "added keys": 2,
    "readers' keys": 12,
}


@pytest.fixture(scope="module")
def alterations(still: Stack, stores: Stores, shop: Shop) -> list[Alterations]:
    """Of the three stores side by side: a verify waits most of the time."""
    return at_once(*(partial(alter, still, stores, shop) for alter in (alter_members, alter_products, alter_carts)))


@pytest.mark.parametrize("what", WHAT)
def test_whatever_is_altered_is_found_and_named(alterations: list[Alterations], what: str) -> None:
    (tries,) = (one for one in alterations if what in one.tried)
    assert tries.tried[what] >= WHAT[what]
    assert not tries.wrong[what], "\n".join(tries.wrong[what])


def test_a_progress_that_does_not_follow_from_the_log_is_told(still: Stack, stores: Stores) -> None:
    partition = stores.rows("select partition from tw_progress where next_offset > 0 limit 1")[0]["partition"]
    for wrong, right, words in (
        ("clock_ms = clock_ms + 1", "clock_ms = clock_ms - 1", r"the clock is \S+, the log says \S+"),
        ("last_hash = ~last_hash", "last_hash = ~last_hash", r"record \d+ that was folded is another one in the log"),
    ):
        wrong, right = (change.replace("~last_hash", TURNED) for change in (wrong, right))
        update = "update tw_progress set {} where partition = %s returning partition"
        change = altered.Change("", *(partial(stores.rows, update.format(to), partition) for to in (wrong, right)))
        with altered.made(change):
            said = verify(still, "member", "--against-log")
        assert not has_line(said, rf"member: partition {partition}: {words}")
    replay.agrees(still, "member")


def test_a_snapshot_or_rebuild_of_what_nobody_folded_into_is_refused_and_leaves_nothing(
    shop: Shop, stack: Stack, tmp_path: Path
) -> None:
    for domain, settings in elsewhere(stack).items():
        for words in (("snapshot", domain, "--output", str(tmp_path / domain)), ("rebuild", domain)):
            refused = replay.twctl(stack, *words, **settings).must_be(REFUSED)
            assert "nothing was ever folded into this store, and its log has" in refused.err
        there = Stores({**stack.environment, **settings})
        assert not there.mongo.list_collection_names() if domain == "product" else not there.redis.servers[0].dbsize()
        there.close()
    assert not list(tmp_path.iterdir())


def test_everything_agrees_with_a_fold_of_the_log(stack: Stack, judged: Judged) -> None:
    stack.heal()
    judged()
