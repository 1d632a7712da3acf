"""A shop's life as a log: commands of all types that edges, policies and operators write, with refusals, repeats,
ids that are used twice, requeued ones, and poison. The same for the same seed, id key and beginning.

Whoever writes sees the shop as the rules have it (model.py), so sessions, addresses and versions are mostly real ones.
Members come, buy for a while and go, so that within a fortnight carts, tokens and ledger rows end.

    recorded_log.py FILE HOURS     writes a small one as text, as tests/data/logs keeps it (see its README.md)
    recorded_log.py FILE limits    one that wants more of everything than there may be
"""

import hashlib
import random
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack

import ids
from member_rules import ADDRESSES_MAX, SESSIONS_MAX
from messages import COMMANDS, TOPICS, money_text
from model import Model, time_text
from product_rules import IMAGES_MAX
from topics import Record

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
LINES_MAX = 100
MORE = 8  # than a limit allows: some are refused by If-Match
GREEDY = -1  # the last member never logs out and wants one of everything
RECENT = 400  # records that may come again soon
WORDS = ("Iced", "tea", "İnce", "ıssız", "TITLE", "título", "茶", "Size I", "café", "quilt", "mini", "LIMIT")
POLICY = "/tillwire/policy/"

Body = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much of what."""

    seed: int
    begin_ms: int
    span_ms: int
    records: dict[str, int]  # by domain, at least
    members: int
    products: int
    shop: str = ""  # its members and products are no other shop's


@dataclass(frozen=True)
class Errand:
    """A command that a policy still has to write."""

    ce_type: str
    body: Body


class Author:
    """Writes the log of a plan; `model` has folded what was written."""

    def __init__(self, plan: Plan, id_key: bytes) -> None:
        self.plan = plan
        self.model = Model(id_key)
        self.logs: dict[tuple[str, int], list[Record]] = {
            (f"{domain}.commands", p): [] for domain, p in self.model.partitions
        }
        self.ends: Counter[tuple[str, str]] = Counter()  # (ce_type, problem or status) of all answers
        self.now_ms = plan.begin_ms
        self._id_key = id_key
        self._dice = random.Random(plan.seed)
        self._left = {domain: plan.records.get(domain, 0) for domain in ids.DOMAINS}
        self._errands: list[Errand] = []
        self._recent: dict[str, list[Record]] = {domain: [] for domain in ids.DOMAINS}
        self._old: dict[str, list[Record]] = {domain: [] for domain in ids.DOMAINS}
        self._given_up: list[tuple[Record, str]] = []
        self._emails = [self._email(n) for n in range(plan.members)]
        self._member_ids = [ids.member_id(id_key, email) for email in self._emails]
        self._skus = [f"SKU-{plan.shop}{n}-{'iI'[n % 2]}" for n in range(plan.products)]
        self._product_ids = [ids.product_id(sku) for sku in self._skus]
        self._tokens_seen: dict[str, list[str]] = {}
        self._events_read = Counter[tuple[str, int]]()

    def write_all(self) -> list[Record]:
        """Everything, partition by partition."""
        total = sum(self.plan.records.values())
        while sum(left := [max(0, n) for n in self._left.values()]):
            done = 1 - sum(left) / total
            self.now_ms = max(self.now_ms, self.plan.begin_ms + int(done * self.plan.span_ms))
            self._next(self._dice.choices(list(self._left), left)[0], done)
        return self.all()

    def write_limits(self) -> list[Record]:
        """Somebody has as much of everything as may be, and wants some more."""
        who, identity = GREEDY, self._identity_of(GREEDY)
        member, products = self._member_ids[who], self._product_ids
        self._command("member.register.v1", {**identity, "password_hash": "$argon2id$", "full_name": self._words(2)})
        for _ in range(ADDRESSES_MAX + MORE):
            self._command("member.add_address.v1", {"member_id": member, **self._address_parts()})
        for _ in range(SESSIONS_MAX + MORE):
            self._command("member.start_session.v1", self._new_session(member))
        many = {f"image {n}": "https://cdn.example.invalid/" for n in range(IMAGES_MAX)}
        self._command("product.create.v1", {**self._new_product(0), "images": many, "discount_price": None})
        more = {"product_id": products[0], "images": {"one more": "https://cdn.example.invalid/"}}
        self._command(
            "product.change.v1",
            {**more, "clear_description": False, "clear_discount_price": False, "removed_images": []},
        )
        for product in products:
            self._command("cart.add_item.v1", {**self._shown(product), "member_id": member, "quantity": 1})
        for quantity in (998, 1):
            line = {**self._shown(products[0]), "member_id": member, "quantity": quantity}
            self._command("cart.add_item.v1", line)
        return self.all()

    def one_of(self, ce_type: str) -> tuple[str, Body]:
        """Key and body of such a command, as one of those who are there may send it now. None of a policy."""
        deeds = [deed for domain in ids.DOMAINS for deed, _ in self._deeds()[domain]]
        while True:
            for deed in deeds:
                found, body = deed(1.0)
                if found == ce_type:
                    return body[COMMANDS[ce_type]["key"]], {n: v for n, v in body.items() if v is not None}

    def all(self) -> list[Record]:
        return [record for log in self.logs.values() for record in log]

    # --- what comes next

    def _next(self, domain: str, done: float) -> None:
        roll = self._dice.random()
        if self._errands and roll < 0.12:
            self._run_errand()
        elif self._recent[domain] and roll < 0.15:
            self._again(domain)
        elif roll < 0.16:
            self._poison(domain, done)
        elif self._given_up and roll < 0.165:
            self._requeue()
        else:
            self._command(*self._deed(domain, done))

    def _deed(self, domain: str, done: float) -> tuple[str, Body]:
        return self._one(self._deeds()[domain])(done)

    def _deeds(self) -> dict[str, list[tuple[Callable[[float], tuple[str, Body]], int]]]:
        """By domain; how often."""
        return {
            "member": [
                (self._register, 20), (self._register_service, 2), (self._change_profile, 8),
                (self._change_password, 4), (self._deactivate, 1), (self._set_status, 4), (self._change_email, 8),
                (self._add_address, 14), (self._change_address, 6), (self._remove_address, 4),
                (self._set_default_address, 4), (self._start_session, 24), (self._refresh_session, 20),
                (self._end_session, 4), (self._end_all_sessions, 1), (self._issue_token, 6), (self._revoke_token, 3),
            ],
            "product": [
                (self._create, 8), (self._change, 10), (self._deactivate_product, 1), (self._view, 50),
                (self._rate, 25), (self._withdraw, 6),
            ],
            "cart": [
                (self._add, 50), (self._set, 18), (self._remove, 10), (self._clear, 2), (self._acknowledge, 5),
            ],
        }  # fmt: skip

    def _one(self, weighted: list[tuple[Any, int]]) -> Any:
        return self._dice.choices([what for what, _ in weighted], [weight for _, weight in weighted])[0]

    def _rolls(self, sides: int) -> bool:
        """Once in that many times."""
        return self._dice.randrange(sides) == 0

    # --- records

    def _command_id(self, domain: str, partition: int, keyed: bool) -> str:
        b = bytearray(self._dice.randbytes(16))
        if not keyed:
            b[:6] = self.now_ms.to_bytes(6, "big")
        b[6:8] = ((0x8000 if keyed else 0x7000) | ids.DOMAINS[domain] << 10 | partition).to_bytes(2, "big")
        b[8] = 0x80 | b[8] & 0x3F
        return str(uuid.UUID(bytes=bytes(b)))

    def _command(self, ce_type: str, body: Body, source: str = "/tillwire/edge", **headers: str) -> Record:
        domain = ce_type.partition(".")[0]
        key = body[COMMANDS[ce_type]["key"]]
        topic = f"{domain}.commands"
        partition = ids.partition_of(key.encode(), TOPICS[topic])
        payload = msgpack.packb({name: value for name, value in body.items() if value is not None})
        all_headers = {
            "ce_id": self._command_id(domain, partition, keyed=self._rolls(4)),
            "ce_type": ce_type,
            "ce_source": source,
            "ce_time": time_text(self.now_ms - self._dice.randrange(500)),
            "ce_specversion": "1.0",
            "content-type": "application/msgpack",
            "tw_fingerprint": hashlib.sha256(payload).hexdigest()[:32],
            **({} if self._rolls(10) else {"tw_caller": key}),
            **self._trace(),
            **self._if_match(domain, key),
            **headers,
        }
        return self._append(topic, partition, key.encode(), payload, all_headers)

    def _trace(self) -> dict[str, str]:
        if not self._rolls(4):
            return {}
        trace, span = self._dice.getrandbits(128) | 1, self._dice.getrandbits(64) | 1
        return {"traceparent": f"00-{trace:032x}-{span:016x}-01"}

    def _if_match(self, domain: str, key: str) -> dict[str, str]:
        """Mostly none; else the version there is, or another one."""
        if not self._rolls(25):
            return {}
        version = self.model.state.version(domain, key, self.now_ms)
        return {"tw_if_version": str(max(0, version - self._dice.randrange(2)))}

    def _append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: dict[str, str]) -> Record:
        log = self.logs[topic, partition]
        # Brokers' clocks differ: a new leader may stamp a record with a time before that of the last one.
        at_ms = self.now_ms - (self._dice.randrange(3000) if self._rolls(50) else 0)
        as_bytes = tuple((name, text.encode()) for name, text in headers.items())
        record = Record(topic, partition, len(log), at_ms, key, value, as_bytes)
        log.append(record)
        answers = len(self.model.outcomes[record.command_id])
        self.model.fold(record)
        for answer in self.model.outcomes[record.command_id][answers:]:
            self.ends[record.type, answer.problem or answer.status] += 1
        self._follow(record)
        self._left[topic.partition(".")[0]] -= 1
        self.now_ms += self._dice.randrange(40)
        return record

    def _repeat(self, record: Record, value: bytes | None = None, **headers: str) -> Record:
        """The record once more, or another one like it, at the end of its partition."""
        old = {name: text.decode() for name, text in record.headers}
        return self._append(
            record.topic, record.partition, record.key, record.value if value is None else value, {**old, **headers}
        )

    # --- what policies do

    def _follow(self, record: Record) -> None:
        """Keeps the record for later, and what policies make of its events."""
        domain = record.topic.partition(".")[0]
        recent = self._recent[domain]
        recent.append(record)
        if len(recent) > RECENT:
            gone = recent.pop(0)
            if self._rolls(20):
                self._old[domain].append(gone)
        events = self.model.partitions[domain, record.partition].events
        at = (domain, record.partition)
        for event in events[self._events_read[at] :]:
            self._react(event.type, event.body)
        self._events_read[at] = len(events)

    def _react(self, event_type: str, body: Body) -> None:
        if event_type == "member.email_change_asked.v1":
            claim = {name: body[name] for name in ("claim_id", "member_id", "change_id")}
            self._errands.append(Errand("member.claim_email.v1", claim))
        elif event_type == "member.email_claim_decided.v1":
            end = {name: body[name] for name in ("member_id", "change_id", "granted")}
            self._errands.append(Errand("member.complete_email_change.v1", end))
        elif event_type == "product.changed.v1" and {"name", "effective_price", "is_active"} & set(body["changed"]):
            holders = [m for m, cart in self.model.state.carts.items() if body["product_id"] in cart.lines]
            for member in holders[-30:]:
                self._errands.append(Errand("cart.reprice.v1", {"member_id": member, **self._as_shown(body)}))

    @staticmethod
    def _as_shown(product: Body) -> Body:
        return {
            "product_id": product["product_id"],
            "product_name": product["name"],
            "price": product["effective_price"],
            "product_version": product["version"],
            "available": product["is_active"],
        }

    def _run_errand(self) -> None:
        """Whichever; now and then the policy forgets that it did."""
        at = self._dice.randrange(len(self._errands))
        errand = self._errands[at]
        if not self._rolls(8):
            self._errands[at] = self._errands[-1]
            self._errands.pop()
        self._command(errand.ce_type, errand.body, POLICY + "test")

    # --- what befalls a log

    def _again(self, domain: str) -> None:
        """A record of lately or of long ago comes once more, or its id is used for something else."""
        kept = self._old[domain] if self._rolls(5) and self._old[domain] else self._recent[domain]
        reused = {"tw_fingerprint": self._dice.randbytes(16).hex()} if self._rolls(4) else {}
        self._repeat(self._dice.choice(kept), **reused)

    def _poison(self, domain: str, done: float) -> None:
        """A record that nobody can process: bytes, types, headers, keys and partitions."""
        good = self._command(*self._deed(domain, done))
        fresh = self._command_id(domain, good.partition, keyed=False)
        nobody = str(uuid.UUID(int=self._dice.getrandbits(128))).encode()
        spoilt: list[Callable[[], Record]] = [
            lambda: self._repeat(good, self._dice.randbytes(60), ce_id=fresh),
            lambda: self._repeat(good, b"", ce_id=fresh),
            lambda: self._repeat(good, good.value[:-3], ce_id=fresh),
            lambda: self._repeat(good, good.value + b"\0", ce_id=fresh),
            lambda: self._give_up(good, fresh),
            lambda: self._repeat(good, ce_id=fresh, ce_type=f"{domain}.burn.v1"),
            lambda: self._repeat(good, ce_id="42"),
            lambda: self._repeat(good, ce_id=fresh, ce_specversion="0.3"),
            lambda: self._repeat(good, ce_id=fresh, **{"content-type": "application/json"}),
            lambda: self._repeat(replace(good, key=None), ce_id=fresh),
            lambda: self._repeat(replace(good, key=b"\xff\x00key"), ce_id=fresh),
            lambda: self._repeat(replace(good, key=nobody), ce_id=fresh),
            lambda: self._repeat(replace(good, partition=(good.partition + 1) % TOPICS[good.topic]), ce_id=fresh),
        ]
        self._dice.choice(spoilt)()

    def _give_up(self, good: Record, command_id: str) -> Record:
        """As a later version that this release does not know; it will be requeued."""
        record = self._repeat(good, ce_id=command_id, ce_type=f"{good.type.rpartition('.')[0]}.v99")
        self._given_up.append((record, good.type))
        return record

    def _requeue(self) -> None:
        """What was given up can be read now, and is decided as of when it came."""
        record, ce_type = self._given_up.pop()
        self._repeat(record, ce_type=ce_type, tw_time=str(record.timestamp_ms))

    # --- members

    def _email(self, n: int) -> str:
        return f"{'İI'[n % 2] if n % 10 == 0 else 'Ana'}.{self.plan.shop}{n}@{'Shop' if n % 3 else 'Title'}.example"

    def _who(self, done: float) -> int:
        """Mostly one of those who came lately; now and then one of the few who have much."""
        if self._rolls(8):
            return self._dice.randrange(4)
        front = 10 + int(done * (self.plan.members - 10))
        return max(0, front - 1 - int(front * 0.3 * self._dice.random() ** 2))

    def _member(self, done: float) -> str:
        """Mostly one who is there."""
        for _ in range(4):
            member = self._member_ids[self._who(done)]
            if member in self.model.state.members:
                break
        return member

    def _credentials(self, member: str) -> int:
        """What the edge saw: mostly what is."""
        known = self.model.state.members.get(member)
        version: int = known["credential_version"] if known else 1
        return version - 1 if version > 1 and self._rolls(10) else version

    def _token(self, member: str, *kinds: str) -> str:
        mine = self.model.state.tokens.get(member, {})
        found = [i for i, row in mine.items() if not kinds or row["kind"] in kinds]
        return self._dice.choice(found[-6:]) if found and not self._rolls(12) else str(uuid.UUID(int=7))

    def _session(self, member: str) -> str:
        mine = list(self.model.state.tokens.get(member, {}).values())
        return self._dice.choice(mine[-8:])["family_id"] if mine else str(uuid.UUID(int=8))

    def _words(self, count: int) -> str:
        return " ".join(self._dice.choice(WORDS) for _ in range(count))

    def _identity(self, done: float) -> tuple[int, Body]:
        who = GREEDY if self._rolls(50) else self._who(done)
        return who, self._identity_of(who)

    def _identity_of(self, who: int) -> Body:
        email = self._emails[who]
        return {"member_id": self._member_ids[who], "email": email, "email_folded": ids.fold_email(email)}

    def _register(self, done: float) -> tuple[str, Body]:
        who, body = self._identity(done)
        phone = f"+62{self._dice.randrange(10**9):09}" if self._rolls(2) else None
        return "member.register.v1", {
            **body, "password_hash": f"$argon2id${who}", "full_name": self._words(2), "phone_number": phone,
        }  # fmt: skip

    def _register_service(self, done: float) -> tuple[str, Body]:
        who, body = self._identity(done)
        if who == GREEDY or (who >= 4 and who % 20):
            return self._register(done)
        return "member.register_service.v1", {**body, "full_name": self._words(1)}

    def _change_profile(self, done: float) -> tuple[str, Body]:
        name = self._words(2) if self._rolls(2) else None
        return "member.change_profile.v1", {
            "member_id": self._member(done), "full_name": name, "clear_phone_number": self._rolls(3),
        }  # fmt: skip

    def _change_password(self, done: float) -> tuple[str, Body]:
        member = self._member(done)
        return "member.change_password.v1", {
            "member_id": member, "credential_version": self._credentials(member),
            "password_hash": f"$argon2id${self.now_ms}", "keep_session_id": self._session(member),
        }  # fmt: skip

    def _deactivate(self, done: float) -> tuple[str, Body]:
        return "member.deactivate.v1", {"member_id": self._member(done)}

    def _set_status(self, done: float) -> tuple[str, Body]:
        status = self._one([("ACTIVE", 6), ("INACTIVE", 1), ("SUSPENDED", 1)])
        return "member.set_status.v1", {"member_id": self._member(done), "status": status, "reason": "asked for"}

    def _new_email(self) -> str:
        return f"New.{self.plan.shop}{self._dice.randrange(self.plan.members)}@I.example"

    def _change_email(self, done: float) -> tuple[str, Body]:
        member, address = self._member(done), self._who(done)
        email = self._emails[address] if self._rolls(2) else self._new_email()
        return "member.change_email.v1", {
            "member_id": member, "credential_version": self._credentials(member), "email": email,
            "email_folded": ids.fold_email(email), "claim_id": ids.member_id(self._id_key, email),
        }  # fmt: skip

    def _address_parts(self) -> Body:
        return {
            "label": self._words(1), "address_line1": f"Jl. Sudirman {self._dice.randrange(100)}",
            "address_line2": self._words(2) if self._rolls(3) else None, "city": self._words(1),
            "province": "DKI Jakarta", "postal_code": f"{self._dice.randrange(10**5):05}",
            "is_default": self._dice.choice([None, True, False]),
        }  # fmt: skip

    def _add_address(self, done: float) -> tuple[str, Body]:
        return "member.add_address.v1", {"member_id": self._member(done), **self._address_parts()}

    def _own_address(self, done: float) -> Body:
        member = self._member(done)
        mine = list(self.model.state.addresses.get(member, {}))
        return {"member_id": member, "address_id": self._dice.choice(mine) if mine else str(uuid.UUID(int=9))}

    def _change_address(self, done: float) -> tuple[str, Body]:
        parts = {name: value for name, value in self._address_parts().items() if self._rolls(2)}
        return "member.change_address.v1", {**self._own_address(done), **parts, "clear_address_line2": self._rolls(5)}

    def _remove_address(self, done: float) -> tuple[str, Body]:
        return "member.remove_address.v1", self._own_address(done)

    def _set_default_address(self, done: float) -> tuple[str, Body]:
        return "member.set_default_address.v1", self._own_address(done)

    def _ends(self) -> Body:
        return {"access_expires_at": self.now_ms + 10 * MINUTE_MS, "refresh_expires_at": self.now_ms + 3 * DAY_MS}

    def _start_session(self, done: float) -> tuple[str, Body]:
        member = self._member_ids[GREEDY] if self._rolls(3) else self._member(done)
        return "member.start_session.v1", self._new_session(member)

    def _new_session(self, member: str) -> Body:
        return {
            "member_id": member, "credential_version": self._credentials(member), **self._ends(),
            "access_token_hash": self._dice.randbytes(32), "refresh_token_hash": self._dice.randbytes(32),
            "password_hash": f"$anew{self.now_ms}" if self._rolls(10) else None,
        }  # fmt: skip

    def _refresh_session(self, done: float) -> tuple[str, Body]:
        member = self._member(done)
        return "member.refresh_session.v1", {
            "member_id": member, "refresh_token_id": self._token(member, "refresh"), **self._ends(),
            "access_token_hash": self._dice.randbytes(32), "new_refresh_token_hash": self._dice.randbytes(32),
        }  # fmt: skip

    def _end_session(self, done: float) -> tuple[str, Body]:
        member = self._member(done)
        return "member.end_session.v1", {"member_id": member, "session_id": self._session(member)}

    def _end_all_sessions(self, done: float) -> tuple[str, Body]:
        return "member.end_all_sessions.v1", {"member_id": self._member(done)}

    def _service(self, done: float) -> str:
        services = [i for i in self._member_ids[:4] if self.model.state.members.get(i, {}).get("is_service")]
        return self._dice.choice(services) if services and not self._rolls(5) else self._member(done)

    def _issue_token(self, done: float) -> tuple[str, Body]:
        return "member.issue_token.v1", {
            "member_id": self._service(done), "token_hash": self._dice.randbytes(32), "scope": "products:write",
            "expires_at": self.now_ms + (1 + self._dice.randrange(20)) * DAY_MS, "label": self._words(2),
        }  # fmt: skip

    def _revoke_token(self, done: float) -> tuple[str, Body]:
        member = self._service(done)
        return "member.revoke_token.v1", {"member_id": member, "token_id": self._token(member)}

    # --- products

    def _which(self) -> int:
        return int(len(self._skus) * self._dice.random() ** 3)

    def _product(self) -> str:
        """Mostly one that is there."""
        for _ in range(3):
            product = self._product_ids[self._which()]
            if product in self.model.state.products:
                break
        return product

    def _money(self) -> str:
        return money_text(self._one([(self._dice.randrange(1, 400_000), 9), (self._dice.randrange(10**9), 1)]))

    def _images(self, count: int) -> Body:
        names = [f"image {self._dice.randrange(25)}" for _ in range(count)]
        return {name: f"https://cdn.example.invalid/{self._dice.randrange(50)}" for name in names}

    def _create(self, done: float) -> tuple[str, Body]:
        return "product.create.v1", self._new_product(min(self._which(), int((0.2 + done) * len(self._skus))))

    def _new_product(self, which: int) -> Body:
        return {
            "product_id": self._product_ids[which], "sku": self._skus[which], "name": self._words(3),
            "slug": f"p-{which}", "description": self._words(12) if self._rolls(2) else None, "price": self._money(),
            "discount_price": self._money() if self._rolls(4) else None, "category": self._words(1),
            "tags": self._dice.sample(WORDS, self._dice.randrange(4)), "images": self._images(self._dice.randrange(4)),
            "is_active": not self._rolls(12),
        }  # fmt: skip

    def _change(self, _: float) -> tuple[str, Body]:
        body: Body = {
            "name": self._words(3), "slug": f"q-{self._which()}", "description": self._words(8), "price": self._money(),
            "discount_price": self._money(), "category": self._words(1), "tags": self._dice.sample(WORDS, 2),
            "images": self._images(7), "is_active": not self._rolls(4),
        }  # fmt: skip
        changes = {name: value for name, value in body.items() if self._rolls(3)}
        return "product.change.v1", {
            "product_id": self._product(), **changes,
            "clear_description": "description" not in changes and self._rolls(6),
            "clear_discount_price": "discount_price" not in changes and self._rolls(3),
            "removed_images": [f"image {self._dice.randrange(25)}" for _ in range(2)] if self._rolls(4) else [],
        }  # fmt: skip

    def _deactivate_product(self, _: float) -> tuple[str, Body]:
        return "product.deactivate.v1", {"product_id": self._product()}

    def _view(self, _: float) -> tuple[str, Body]:
        return "product.record_view.v1", {"product_id": self._product()}

    def _rate(self, done: float) -> tuple[str, Body]:
        return "product.rate.v1", {
            "product_id": self._product(), "member_id": self._member(done), "stars": self._dice.randint(1, 5),
        }  # fmt: skip

    def _withdraw(self, done: float) -> tuple[str, Body]:
        product = self._product()
        known = list(self.model.state.ratings.get(product, {}))
        member = self._dice.choice(known) if known and not self._rolls(4) else self._member(done)
        return "product.withdraw_rating.v1", {"product_id": product, "member_id": member}

    # --- carts

    def _line(self, done: float, quantity: int) -> Body:
        return {"member_id": self._member(done), "quantity": quantity, **self._shown(self._product())}

    def _shown(self, product: str) -> Body:
        """A product as the edge saw it; of one that is not there, as nobody did."""
        known = self.model.state.products.get(product)
        return {
            "product_id": product,
            "product_name": known["name"] if known else "Gone",
            "price": money_text(known["effective_price"]) if known else "1.00",
            "product_version": max(1, known["version"] - self._dice.randrange(2)) if known else 1,
        }

    def _held(self, done: float) -> Body:
        member = self._member(done)
        cart = self.model.state.carts.get(member)
        held = list(cart.lines) if cart else []
        product = self._dice.choice(held) if held and not self._rolls(8) else self._product()
        return {"member_id": member, "product_id": product}

    def _add(self, done: float) -> tuple[str, Body]:
        body = self._line(done, self._dice.randint(1, 999) if self._rolls(15) else 1)
        if self._rolls(40):
            body.update(member_id=self._member_ids[GREEDY], product_id=self._dice.choice(self._product_ids))
        return "cart.add_item.v1", body

    def _set(self, done: float) -> tuple[str, Body]:
        return "cart.set_item.v1", self._line(done, 0 if self._rolls(4) else self._dice.randint(1, 20))

    def _remove(self, done: float) -> tuple[str, Body]:
        return "cart.remove_item.v1", self._held(done)

    def _clear(self, done: float) -> tuple[str, Body]:
        return "cart.clear.v1", {"member_id": self._member(done)}

    def _acknowledge(self, done: float) -> tuple[str, Body]:
        return "cart.acknowledge.v1", {"member_id": self._member(done)}


# --- as text


def as_text(record: Record) -> str:
    lines = [f"record {record.topic} {record.partition} {record.timestamp_ms}"]
    lines += [f"header {name} {value.decode()}" for name, value in record.headers]
    if record.key is not None:
        lines.append(f"key {record.key.hex()}")
    lines.append(f"value {record.value.hex()}")
    return "\n".join(lines) + "\n"


BEGIN_MS = 1_790_000_000_000
LIMITS = {"addresses-limit", "session-limit", "images-limit", "cart-lines-limit", "line-quantity-limit"}


def small(hours: int) -> list[Record]:
    """Of the first seed with which all commands go through."""
    records = {"member": 200, "product": 90, "cart": 100}
    for seed in range(1000):
        author = Author(Plan(seed, BEGIN_MS, hours * HOUR_MS, records, members=12, products=8), bytes(32))
        written = author.write_all()
        if COMMANDS.keys() <= {ce_type for ce_type, end in author.ends if end == "succeeded"}:
            return written
    raise AssertionError("no seed gives all commands")


def limits() -> list[Record]:
    author = Author(Plan(1, BEGIN_MS, 0, {}, members=1, products=LINES_MAX + MORE), bytes(32))
    written = author.write_limits()
    assert LIMITS <= {end for _, end in author.ends}, author.ends
    return written


if __name__ == "__main__":
    written_log = limits() if sys.argv[2] == "limits" else small(int(sys.argv[2]))
    Path(sys.argv[1]).write_text("\n".join(map(as_text, written_log)), encoding="utf-8")
