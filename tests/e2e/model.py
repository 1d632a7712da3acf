"""What the command log means, folded a second time in plain Python. The checker compares stores, events and dead
letters with it, so nothing here may be learnt from them: only from the log, the schemas and the written rules.

Left out because no test lives that long: a cart's end after 7 days, tokens and ledger rows that ended a day ago.
"""

import re
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional

import ids
from messages import COMMANDS, TOPICS, Malformed, minor_of, money_text, read_command
from topics import Record, Topics

CART_LIFE_MS = 7 * 24 * 60 * 60 * 1000
TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
LAST_VERSION = re.compile(r"\.[^.]*$")


def time_text(ms: int) -> str:
    seconds = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def time_ms(text: str) -> int:
    at = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    return int(at.replace(microsecond=0).timestamp()) * 1000 + at.microsecond // 1000


@dataclass(frozen=True)
class Outcome:
    status: str
    http_status: int
    problem: Optional[str] = None
    resource: Optional[str] = None


def succeeded(http_status: int, resource: str) -> Outcome:
    return Outcome("succeeded", http_status, None, resource)


def rejected(http_status: int, problem: str) -> Outcome:
    return Outcome("rejected", http_status, problem)


@dataclass(frozen=True)
class Event:
    """One that must be published; `detail` of outcomes is for people and not compared."""

    id: str
    type: str
    key: str
    cause_offset: int
    n: int
    command_id: str
    time: str
    body: dict[str, Any]


@dataclass
class Envelope:
    """The headers of a readable command."""

    id: str
    type: str
    submitted_ms: int
    caller: Optional[str]
    fingerprint: str
    if_version: int
    original_ms: int


@dataclass
class Row:
    """What the ledger remembers."""

    type: str
    fingerprint: str
    outcome: Outcome
    at_ms: int
    offset: int


@dataclass
class Line:
    product_id: str
    product_name: str
    price_minor: int
    quantity: int
    added_ms: int
    product_version: int


@dataclass
class Cart:
    version: int
    updated_ms: int = 0
    lines: dict[str, Line] = field(default_factory=dict)

    @property
    def items(self) -> int:
        return sum(line.quantity for line in self.lines.values())

    @property
    def price_minor(self) -> int:
        return sum(line.quantity * line.price_minor for line in self.lines.values())

    @property
    def ends_ms(self) -> int:
        return self.updated_ms + CART_LIFE_MS


@dataclass
class Partition:
    """Where the fold of one partition stands."""

    domain: str
    number: int
    clock_ms: int = 0
    ledger: dict[str, Row] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    dead: dict[int, str] = field(default_factory=dict)  # offset -> reason
    views: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)  # where a coalesced event may stand


def read_envelope(record: Record) -> Optional[Envelope]:
    """None when a header is missing or wrong."""
    try:
        header = record.header
        assert header("ce_source") and header("ce_specversion") == "1.0" and header("ce_type")
        assert header("content-type") == "application/msgpack"
        assert TIME.fullmatch(header("ce_time") or "")
        command_id = header("ce_id") or ""
        assert len(command_id) == 36 and uuid.UUID(command_id).int
        caller = header("tw_caller")
        if caller is not None:
            assert len(caller) == 36 and uuid.UUID(caller)
        fingerprint = header("tw_fingerprint")
        if fingerprint is not None:
            assert len(bytes.fromhex(fingerprint)) == 16
        if_version, original = header("tw_if_version"), header("tw_time")
        assert if_version is None or int(if_version) >= 0
        assert original is None or int(original) >= 0
        return Envelope(str(uuid.UUID(command_id)), header("ce_type") or "", time_ms(header("ce_time") or ""),
                        str(uuid.UUID(caller)) if caller and uuid.UUID(caller).int else None, fingerprint or "0" * 32,
                        int(if_version or -1), int(original or -1))
    except (AssertionError, ValueError):
        return None


class Model:
    """Folds all command topics as far as `topics` has read them; feed() goes on where it stopped."""

    def __init__(self, id_key: bytes) -> None:
        self._id_key = id_key
        self.members: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.products: dict[str, dict[str, Any]] = {}
        self.carts: dict[str, Cart] = {}
        self.outcomes: dict[str, list[Outcome]] = defaultdict(list)  # by command id, one for each record
        self.partitions = {(domain, p): Partition(domain, p)
                           for domain in ids.DOMAINS for p in range(TOPICS[f"{domain}.commands"])}
        self._next: dict[tuple[str, int], int] = defaultdict(int)
        self._decide = {
            "member.register": self._register, "member.register_service": self._register_service,
            "member.start_session": self._start_session, "member.issue_token": self._issue_token,
            "product.create": self._create, "product.record_view": self._record_view,
            "cart.add_item": self._add_item, "cart.set_item": self._set_item, "cart.remove_item": self._remove_item,
        }

    def feed(self, topics: Topics) -> None:
        for (domain, number), partition in self.partitions.items():
            records = topics.partition(f"{domain}.commands", number)
            for record in records[self._next[domain, number]:]:
                self._fold(partition, record)
            self._next[domain, number] = len(records)

    # --- the turn of one record

    def _fold(self, partition: Partition, record: Record) -> None:
        partition.clock_ms = max(partition.clock_ms, record.timestamp_ms)
        envelope = read_envelope(record)
        reason, body = self._judge(partition, record, envelope)
        if reason:
            partition.dead[record.offset] = reason
            if envelope and not self._known(partition, envelope):
                self._remember(partition, record, envelope, Outcome("dead_lettered", 500, "dead-lettered"))
            return
        assert envelope and body is not None
        command = COMMANDS[envelope.type]["type"]
        remembered = not COMMANDS[envelope.type].get("quiet") or ids.is_keyed(envelope.id)
        row = self._known(partition, envelope) if remembered else None
        if row and not (envelope.original_ms >= 0 and row.outcome.status == "dead_lettered"):
            self._repeat(partition, record, envelope, row)
            return
        at_ms = envelope.original_ms if envelope.original_ms >= 0 else partition.clock_ms
        if envelope.if_version >= 0 and envelope.if_version != self._version(partition.domain, body):
            outcome = rejected(412, "precondition-failed")
        else:
            outcome = self._decide[command](partition, record, envelope, body, at_ms)
        if remembered:
            self._remember(partition, record, envelope, outcome)
        else:
            self.outcomes[envelope.id].append(outcome)

    def _judge(self, partition: Partition, record: Record, envelope: Optional[Envelope]
               ) -> tuple[Optional[str], Optional[dict[str, Any]]]:
        """(reason to give the record up, its body)."""
        if not envelope:
            return "bad_envelope", None
        schema = COMMANDS.get(envelope.type)
        if not schema or schema["domain"] != partition.domain:
            return "unknown_type", None
        try:
            key = str(uuid.UUID((record.key or b"").decode()))
            assert len(record.key or b"") == 36
        except (ValueError, AssertionError):
            return "misrouted", None
        try:
            body = read_command(envelope.type, record.value)
        except Malformed:
            return "undecodable", None
        wanted = str(uuid.UUID(body[schema["key"]]))
        at_home = ids.partition_of(record.key or b"", TOPICS[record.topic]) == record.partition
        if key != wanted or not at_home or wanted != self._natural_id(schema["type"], body, wanted):
            return "misrouted", None
        return None, body

    def _natural_id(self, command: str, body: dict[str, Any], otherwise: str) -> str:
        if command == "product.create":
            return ids.product_id(body["sku"])
        if command in ("member.register", "member.register_service"):
            return ids.member_id_of_folded(self._id_key, body["email_folded"])
        return otherwise

    def _version(self, domain: str, body: dict[str, Any]) -> int:
        """What If-Match compares."""
        match domain:
            case "cart":
                return self.carts.get(body["member_id"], Cart(0)).version
            case "product":
                return int(self.products.get(body["product_id"], {}).get("version", 0))
            case _:
                return int(self.members.get(body["member_id"], {}).get("version", 0))

    @staticmethod
    def _known(partition: Partition, envelope: Envelope) -> Optional[Row]:
        return partition.ledger.get(ids.ledger_id(envelope.id))

    def _remember(self, partition: Partition, record: Record, envelope: Envelope, outcome: Outcome) -> None:
        row = Row(LAST_VERSION.sub("", envelope.type), envelope.fingerprint, outcome, partition.clock_ms, record.offset)
        partition.ledger[ids.ledger_id(envelope.id)] = row
        self._answer(partition, record, envelope, row, repeated=False)

    def _repeat(self, partition: Partition, record: Record, envelope: Envelope, row: Row) -> None:
        if row.fingerprint == envelope.fingerprint:
            self._answer(partition, record, envelope, row, repeated=True)
            return
        misuse = Row(LAST_VERSION.sub("", envelope.type), envelope.fingerprint, rejected(422, "idempotency-key-reused"),
                     partition.clock_ms, record.offset)
        self._answer(partition, record, envelope, misuse, repeated=False)

    def _answer(self, partition: Partition, record: Record, envelope: Envelope, row: Row, repeated: bool) -> None:
        outcome = row.outcome
        self.outcomes[envelope.id].append(outcome)
        self._emit(partition, record, envelope, "command.outcome.v1", {
            "command_id": envelope.id, "command_type": row.type, "status": outcome.status,
            "http_status": outcome.http_status, "problem_code": outcome.problem, "resource": outcome.resource,
            "caller": envelope.caller, "repeated": repeated, "submitted_at": envelope.submitted_ms,
            "finished_at": row.at_ms})

    def _emit(self, partition: Partition, record: Record, envelope: Envelope, ce_type: str, body: dict[str, Any]) -> None:
        mine = [e for e in partition.events[-4:] if e.cause_offset == record.offset]
        at_ms = envelope.original_ms if envelope.original_ms >= 0 else partition.clock_ms
        partition.events.append(Event(
            f"{partition.domain}.commands/{partition.number}/{record.offset}/{len(mine)}", ce_type,
            (record.key or b"").decode("utf-8", "replace"), record.offset, len(mine), envelope.id, time_text(at_ms),
            {name: value for name, value in body.items() if value is not None}))

    # --- members

    def _new_member(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int,
                    event: str, resource: str) -> Outcome:
        if body["member_id"] in self.members:
            return rejected(409, "email-taken")
        self.members[body["member_id"]] = {
            "email": body["email"], "email_folded": body["email_folded"], "password_hash": body.get("password_hash"),
            "full_name": body["full_name"], "phone_number": body.get("phone_number"), "status": "ACTIVE",
            "created_at": at_ms, "updated_at": at_ms, "last_login_at": None, "version": 1, "credential_version": 1,
            "is_service": "password_hash" not in body}
        self._emit(partition, record, envelope, event, {"member_id": body["member_id"], "status": "ACTIVE", "version": 1})
        return succeeded(201, resource)

    def _register(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int
                  ) -> Outcome:
        return self._new_member(partition, record, envelope, body, at_ms, "member.registered.v1", "/v1/members/me")

    def _register_service(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any],
                          at_ms: int) -> Outcome:
        return self._new_member(partition, record, envelope, body, at_ms, "member.service_registered.v1",
                                f"/v1/members/{body['member_id']}")

    def _add_token(self, envelope: Envelope, tag: str, at_ms: int, **columns: Any) -> str:
        token = ids.derived_id(envelope.id, tag)
        self.tokens[token] = {"family_id": ids.derived_id(envelope.id, "family"), "is_revoked": False,
                              "created_at": at_ms, "kind": tag, "scope": "", "label": "", **columns}
        return token

    def _start_session(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int
                       ) -> Outcome:
        member = self.members.get(body["member_id"])
        if not member:
            return rejected(404, "not-found")
        if member["is_service"] or member["credential_version"] != body["credential_version"]:
            return rejected(409, "stale-credentials")
        if ids.derived_id(envelope.id, "access") in self.tokens:
            return rejected(422, "idempotency-key-reused")
        access, refresh = (
            self._add_token(envelope, kind, at_ms, member_id=body["member_id"], token_hash=body[f"{kind}_token_hash"].hex(),
                            expires_at=body[f"{kind}_expires_at"]) for kind in ("access", "refresh"))
        member["last_login_at"] = at_ms
        self._emit(partition, record, envelope, "member.session_started.v1", {
            "member_id": body["member_id"], "access_token_id": access, "refresh_token_id": refresh,
            "access_expires_at": body["access_expires_at"], "refresh_expires_at": body["refresh_expires_at"],
            "version": member["version"]})
        return succeeded(200, f"/v1/auth/sessions/{self.tokens[access]['family_id']}")

    def _issue_token(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int
                     ) -> Outcome:
        member = self.members.get(body["member_id"])
        if not member or not member["is_service"]:
            return rejected(404, "not-found")
        if ids.derived_id(envelope.id, "service") in self.tokens:
            return rejected(422, "idempotency-key-reused")
        token = self._add_token(envelope, "service", at_ms, member_id=body["member_id"], token_hash=body["token_hash"].hex(),
                                expires_at=body["expires_at"], scope=body["scope"], label=body["label"])
        self._emit(partition, record, envelope, "member.token_issued.v1", {
            "member_id": body["member_id"], "token_id": token, "scope": body["scope"],
            "expires_at": body["expires_at"], "version": member["version"]})
        return succeeded(201, f"/v1/auth/sessions/{self.tokens[token]['family_id']}")

    # --- products

    def _create(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int
                ) -> Outcome:
        price, discount = minor_of(body["price"]), body["discount_price"]
        if discount is not None and minor_of(discount) >= price:
            return rejected(422, "price-rule")
        if body["product_id"] in self.products:
            return rejected(409, "sku-taken")
        effective = price if discount is None else minor_of(discount)
        self.products[body["product_id"]] = product = {
            "sku": body["sku"], "name": body["name"], "slug": body["slug"], "description": body["description"],
            "price": price, "discount_price": None if discount is None else minor_of(discount),
            "effective_price": effective, "category": body["category"], "tags": body["tags"], "images": body["images"],
            "view_count": 0, "rating": 0, "review_count": 0, "is_active": body["is_active"], "created_at": at_ms,
            "updated_at": at_ms, "version": 1}
        told = {name: product[name] for name in ("sku", "name", "slug", "category", "tags", "is_active", "version")}
        self._emit(partition, record, envelope, "product.created.v1", {
            "product_id": body["product_id"], **told, "price": money_text(price),
            "discount_price": None if discount is None else money_text(minor_of(discount)),
            "effective_price": money_text(effective)})
        return succeeded(201, f"/v1/products/{body['product_id']}")

    def _record_view(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int
                     ) -> Outcome:
        product = self.products.get(body["product_id"])
        if not product:
            return rejected(404, "not-found")
        if not product["is_active"]:
            return rejected(410, "gone")
        product["view_count"] += 1
        behind = 1 if ids.is_keyed(envelope.id) else 0  # its outcome stands before it
        partition.views[record.offset, behind] = {
            "product_id": body["product_id"], "view_count": product["view_count"], "version": product["version"]}
        return succeeded(202, f"/v1/products/{body['product_id']}")

    # --- carts

    def _tell_cart(self, partition: Partition, record: Record, envelope: Envelope, cart: Cart, ce_type: str,
                   body: dict[str, Any]) -> None:
        self._emit(partition, record, envelope, ce_type, {
            **body, "version": cart.version, "total_items": cart.items, "total_price": money_text(cart.price_minor),
            "expires_at": cart.ends_ms})

    def _touched(self, member_id: str, offset: int, at_ms: int) -> Cart:
        """A cart's first version is behind the offset of the record that makes it; then it counts by one."""
        cart = self.carts.setdefault(member_id, Cart(offset))
        cart.version += 1
        cart.updated_ms = max(cart.updated_ms, at_ms)
        return cart

    def _put(self, record: Record, body: dict[str, Any], quantity: int, at_ms: int) -> Cart:
        cart = self._touched(body["member_id"], record.offset, at_ms)
        line = cart.lines.get(body["product_id"])
        if not line:
            line = Line(body["product_id"], "", 0, 0, at_ms, 0)
            cart.lines[body["product_id"]] = line
        if body["product_version"] > line.product_version:
            line.product_name, line.product_version = body["product_name"], body["product_version"]
            line.price_minor = minor_of(body["price"])
        line.quantity = quantity
        return cart

    def _limits(self, body: dict[str, Any], quantity: int) -> Optional[Outcome]:
        cart = self.carts.get(body["member_id"], Cart(0))
        if quantity > 999:
            return rejected(422, "line-quantity-limit")
        if len(cart.lines) >= 100 and body["product_id"] not in cart.lines:
            return rejected(422, "cart-lines-limit")
        return None

    def _tell_line(self, partition: Partition, record: Record, envelope: Envelope, cart: Cart, ce_type: str,
                   product_id: str, added: Optional[int]) -> None:
        line = cart.lines[product_id]
        self._tell_cart(partition, record, envelope, cart, ce_type, {
            "member_id": (record.key or b"").decode(), "product_id": product_id, "product_name": line.product_name,
            "price": money_text(line.price_minor), "added": added, "quantity": line.quantity,
            "product_version": line.product_version})

    def _add_item(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int
                  ) -> Outcome:
        before = self.carts.get(body["member_id"], Cart(0)).lines.get(body["product_id"])
        quantity = (before.quantity if before else 0) + body["quantity"]
        refusal = self._limits(body, quantity)
        if refusal:
            return refusal
        cart = self._put(record, body, quantity, at_ms)
        self._tell_line(partition, record, envelope, cart, "cart.item_added.v1", body["product_id"], body["quantity"])
        return succeeded(200, "/v1/cart")

    def _set_item(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int
                  ) -> Outcome:
        if body["quantity"] == 0:
            if body["product_id"] not in self.carts.get(body["member_id"], Cart(0)).lines:
                return succeeded(200, "/v1/cart")
            return self._removed(partition, record, envelope, body, at_ms, 200)
        refusal = self._limits(body, body["quantity"])
        if refusal:
            return refusal
        cart = self._put(record, body, body["quantity"], at_ms)
        self._tell_line(partition, record, envelope, cart, "cart.item_set.v1", body["product_id"], None)
        return succeeded(200, "/v1/cart")

    def _remove_item(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int
                     ) -> Outcome:
        if body["product_id"] not in self.carts.get(body["member_id"], Cart(0)).lines:
            return rejected(404, "not-found")
        return self._removed(partition, record, envelope, body, at_ms, 204)

    def _removed(self, partition: Partition, record: Record, envelope: Envelope, body: dict[str, Any], at_ms: int,
                 http_status: int) -> Outcome:
        cart = self._touched(body["member_id"], record.offset, at_ms)
        del cart.lines[body["product_id"]]
        self._tell_cart(partition, record, envelope, cart, "cart.item_removed.v1",
                        {"member_id": body["member_id"], "product_id": body["product_id"]})
        return succeeded(http_status, "/v1/cart")
