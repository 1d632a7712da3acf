"""One stored field of any kind, changed behind the worker's back: what it takes in each store, for tests of what notices.
Fields come from the stores and the schemas themselves, so a new one is tried without being named here."""

import json
import re
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import msgpack
from bson import Binary, Decimal128, Int64, ObjectId

import ids
from messages import SCHEMAS, TOPICS
from stores import Stores

STATES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (SCHEMAS / "state").glob("*.json")
}
A_CODE = "gone"  # of a problem, for what must be one


@dataclass(frozen=True)
class Change:
    """Of one field: how it is named, and what makes it and takes it back."""

    name: str
    make: Callable[[], object]
    undo: Callable[[], object]


@contextmanager
def made(change: Change) -> Iterator[None]:
    change.make()
    try:
        yield
    finally:
        change.undo()


# --- PostgreSQL

# Rows that count and that other rows do not lean on; of a member's lists, one of a kind, so that its place in them stays.
ROWS = {
    "members": "id not in (select member_id from member_addresses union select member_id from jwt_tokens"
    " union select member_id from tw_email_changes)",
    "member_addresses": "address_line2 is not null and member_id in"
    " (select member_id from member_addresses group by member_id having count(*) = 1)",
    "jwt_tokens": "label <> '' and member_id in"
    " (select member_id from jwt_tokens group by member_id having count(*) = 1)",
    "tw_email_changes": "true",
    "tw_email_claims": "true",
    "tw_ledger": "problem is null and caller is not null",
}


def _another(column: dict[str, Any], labels: dict[str, list[str]]) -> str:
    """SQL of another value that the store and the worker can read."""
    name, kind = column["column_name"], column["udt_name"]
    if name == "token_hash":
        return f"translate({name}, '0123456789abcdef', '123456789abcdef0')"
    if name == "problem":
        return f"case when {name} = '{A_CODE}' then 'not-found' else '{A_CODE}' end"
    if name == "member_id":
        return f"(select id from members where {ROWS['members']} and not is_service order by id desc limit 1)"
    if kind in labels:
        order = labels[kind]
        follows = " ".join(f"when '{a}' then '{b}'" for a, b in zip(order, order[1:] + order[:1]))
        return f"(case {name}::text {follows} end)::{kind}"
    return {
        "uuid": "gen_random_uuid()",
        "varchar": f"coalesce({name}, '') || 'x'",
        "text": f"coalesce({name}, '') || 'x'",
        "bool": f"not {name}",
        "int2": f"{name} + 1",
        "int4": f"mod({name} + 1, 6)",
        "int8": f"{name} + 1",
        "timestamp": f"coalesce({name}, 'epoch') + interval '1 millisecond'",
        "bytea": f"set_byte({name}, 0, get_byte({name}, 0) # 1)",
    }[kind]


def _labels(stores: Stores) -> dict[str, list[str]]:
    """Of the enums, in order."""
    labels: dict[str, list[str]] = {}
    for row in stores.rows(
        "select t.typname, e.enumlabel from pg_enum e join pg_type t on t.oid = e.enumtypid"
        " join pg_namespace n on n.oid = t.typnamespace where n.nspname = 'tillwire' order by e.enumsortorder"
    ):
        labels.setdefault(row["typname"], []).append(row["enumlabel"])
    return labels


def _column_change(stores: Stores, table: str, at: str, name: str, value: str) -> Change:
    kept = stores.rows(f"select {name} as value from {table} where ctid = %s", at)[0]["value"]
    place = [at]

    def put(sql: str, *values: Any) -> None:
        row = stores.rows(f"update {table} set {name} = {sql} where ctid = %s returning ctid::text", *values, place[0])
        place[0] = row[0]["ctid"]

    return Change(name, lambda: put(value), lambda: put("%s", kept))


def column_changes(stores: Stores, table: str) -> Iterator[tuple[dict[str, Any], Change]]:
    """Of one row, each column once, and those that may be null made so; with the row as it is."""
    labels = _labels(stores)
    for column in stores.rows(
        "select column_name, udt_name, is_nullable from information_schema.columns"
        " where table_schema = 'tillwire' and table_name = %s order by ordinal_position",
        table,
    ):
        found = stores.rows(f"select ctid::text as at, * from {table} where {ROWS[table]} order by 2 limit 1")
        assert found, f"no row of {table} to alter"
        (row,) = found
        name = column["column_name"]
        yield row, _column_change(stores, table, row["at"], name, _another(column, labels))
        if column["is_nullable"] == "YES" and row[name] is not None:
            row = stores.rows(f"select ctid::text as at, * from {table} where {ROWS[table]} order by 2 limit 1")[0]
            yield row, _column_change(stores, table, row["at"], name, "null")


def row_change(stores: Stores, table: str) -> tuple[dict[str, Any], Change]:
    """One row that is not there any more."""
    (row,) = stores.rows(f"select * from {table} where {ROWS[table]} order by 1 limit 1")
    keys = [
        found["attname"]
        for found in stores.rows(
            "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)"
            " where i.indisprimary and i.indrelid = %s::regclass",
            table,
        )
    ]
    where = " and ".join(f"{key} = %s" for key in keys)
    names = ", ".join(row)
    marks = ", ".join(["%s"] * len(row))
    return row, Change(
        "",
        lambda: stores.rows(f"delete from {table} where {where}", *(row[key] for key in keys)),
        lambda: stores.rows(f"insert into {table} ({names}) values ({marks})", *row.values()),
    )


# --- MongoDB

COLLECTIONS = ("products", "tw_ratings", "tw_ledger")
DOCUMENTS: dict[str, dict[str, Any]] = {
    "products": {"discount_price": {"$ne": None}, "description": {"$ne": None}},
    "tw_ratings": {},
    "tw_ledger": {"problem": "", "type": "product.create"},
}


def properties_of(collection: str) -> list[str]:
    schema = json.loads((SCHEMAS / "mongo" / f"{collection}.json").read_text(encoding="utf-8"))
    return list(schema["validator"]["$jsonSchema"]["properties"])


def _another_value(name: str, value: Any) -> Any:
    if name == "problem":
        return A_CODE
    if name == "status":
        return "rejected"
    if isinstance(value, bool):
        return not value
    if name == "guard":  # a later one may be ahead of the log
        return type(value)(value // 2)
    if isinstance(value, (Int64, int)):
        return type(value)(value + 1)
    if isinstance(value, Decimal128):
        return Decimal128(value.to_decimal() + Decimal("0.01"))
    if isinstance(value, ObjectId):
        return next(_neighbours(value))
    if isinstance(value, bytes):  # Binary, too
        subtype = value.subtype if isinstance(value, Binary) else 0
        return Binary(value[:-1] + bytes([value[-1] ^ 1]), subtype)
    if isinstance(value, str):
        return value[:-1] + ("1" if value[-1:] == "0" else "0") if "/" in value else value + "x"
    if isinstance(value, list):
        return [*value, "x"]
    if isinstance(value, dict):
        return {**value, "x": "https://cdn.example.com/x.jpg"}
    return value + timedelta(milliseconds=1)


def _replaced(stores: Stores, collection: str, document: dict[str, Any], other: dict[str, Any]) -> None:
    if document["_id"] == other["_id"]:
        stores.mongo[collection].replace_one({"_id": document["_id"]}, other)
        return
    stores.mongo[collection].delete_one({"_id": document["_id"]})
    stores.mongo[collection].insert_one(other)


def _neighbours(object_id: ObjectId) -> Iterator[ObjectId]:
    """Other ids of the same partition: a document that changes partitions may be ahead of its new one's log."""

    def partition_of(one: ObjectId) -> int:
        return ids.partition_of(ids.product_id_of(one.binary).encode(), TOPICS["product.commands"])

    others = (ObjectId(bytes([byte]) + object_id.binary[1:]) for byte in range(256))
    return (other for other in others if other != object_id and partition_of(other) == partition_of(object_id))


def _document_change(
    stores: Stores, collection: str, document: dict[str, Any], name: str, value: Any
) -> tuple[dict[str, Any], Change]:
    other = {**document, name: value}
    return document, Change(
        name,
        lambda: _replaced(stores, collection, document, other),
        lambda: _replaced(stores, collection, other, document),
    )


def field_changes(stores: Stores, collection: str) -> Iterator[tuple[dict[str, Any], Change]]:
    """Of one document, each field that the schema names, and null where it allows it."""
    document = stores.mongo[collection].find_one(DOCUMENTS[collection])
    assert document, f"no document of {collection} to alter"
    assert set(document) == set(properties_of(collection))
    for name, value in document.items():
        yield _document_change(stores, collection, document, name, _another_value(name, value))
        if name in ("description", "discount_price"):
            yield _document_change(stores, collection, document, name, None)


def document_change(stores: Stores, collection: str) -> tuple[dict[str, Any], Change]:
    """One document that is not there any more."""
    document = stores.mongo[collection].find_one(DOCUMENTS[collection])
    assert document, f"no document of {collection} to alter"
    return document, Change(
        "",
        lambda: stores.mongo[collection].delete_one({"_id": document["_id"]}),
        lambda: stores.mongo[collection].insert_one(document),
    )


# --- Redis

Fields = list[dict[str, Any]]
CART_FIELDS: Fields = STATES["cart"]["fields"]
LINE_FIELDS: Fields = STATES["cart"]["structs"]["cart_line"]["fields"]


def _another_packed(field: dict[str, Any], value: Any) -> Any:
    """Of the packed form; None: the field is left out."""
    if value is None:
        return 12_345
    if field["type"] == "uuid":
        return value[:-1] + bytes([value[-1] ^ 1])
    if field["type"] == "string":
        return value + "x"
    if field["type"] == "bool":
        return not value
    if field["type"] == "list":
        return value[:-1]
    return value + 1


def _with(cart: dict[str, Any], line: int | None, key: str, value: Any) -> dict[str, Any]:
    if line is None:
        return {**cart, key: value}
    lines = [dict(one) for one in cart["l"]]
    lines[line][key] = value
    if value is None:
        del lines[line][key]
    return {**cart, "l": lines}


def _key_change(stores: Stores, key: str, name: str, value: bytes) -> Change:
    """Of a string without a time-to-live."""
    kept = stores.redis.get(key)
    return Change(name, lambda: stores.redis.set(key, value), lambda: stores.redis.set(key, kept))


def cart_changes(stores: Stores, member: str) -> Iterator[Change]:
    """Of the worker's copy: every field of the cart and of its first line."""
    key = f"tw:cart:{member}"
    cart = msgpack.unpackb(stores.redis.get(key) or b"")
    places = [(None, "", CART_FIELDS), (0, "lines[0].", LINE_FIELDS)]
    for line, prefix, fields in places:
        held = cart if line is None else cart["l"][line]
        for field in fields:
            values = [_another_packed(field, held.get(field["pack"]))]
            if field.get("optional") and held.get(field["pack"]) is not None:
                values.append(None)
            for value in values:
                packed = msgpack.packb(_with(cart, line, field["pack"], value))
                yield _key_change(stores, key, f"{prefix}{field['name']}", packed)


ROW_NUMBERS = ("status", "http_status", "caller", "fingerprint", "offset", "submitted_at", "decided_at")
ROW_TEXTS = ("type", "problem", "detail", "resource")
ROW_FIELDS = {*ROW_NUMBERS, *ROW_TEXTS}
ROW_HEAD = struct.Struct("<xBH16s16sqqq")


def unpack_row(packed: bytes) -> dict[str, Any]:
    """A ledger row as Redis has it."""
    row = dict(zip(ROW_NUMBERS, ROW_HEAD.unpack_from(packed)))
    rest = packed[ROW_HEAD.size :]
    for name in ROW_TEXTS:
        (length,) = struct.unpack_from("<H", rest)
        row[name] = rest[2 : 2 + length]
        rest = rest[2 + length :]
    assert not rest
    return row


def pack_row(row: dict[str, Any]) -> bytes:
    head = bytearray(ROW_HEAD.pack(*(row[name] for name in ROW_NUMBERS)))
    head[0] = 1
    return bytes(head) + b"".join(struct.pack("<H", len(row[name])) + row[name] for name in ROW_TEXTS)


def _another_in_row(name: str, value: Any) -> Any:
    if name == "problem":
        return A_CODE.encode()
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"x"
    return value + 1


def _hash_change(stores: Stores, key: str, field: bytes, name: str, value: bytes | None) -> Change:
    kept = stores.redis.hget(key, field)
    return Change(
        name,
        lambda: stores.redis.hdel(key, field) if value is None else stores.redis.hset(key, field, value),
        lambda: stores.redis.hset(key, field, kept),
    )


def row_changes(stores: Stores) -> Iterator[tuple[str, Change]]:
    """(command id, change) of one ledger row of the carts, every field of it; last: that it is gone."""
    key = next(stores.redis.scan_iter("tw:ledger:*")).decode()
    field, packed = next(iter(stores.redis.hgetall(key).items()))
    row, command_id = unpack_row(packed), str(uuid.UUID(bytes=field))
    assert pack_row(row) == packed
    for name, value in row.items():
        changed = pack_row({**row, name: _another_in_row(name, value)})
        yield command_id, _hash_change(stores, key, field, name, changed)
    yield command_id, _hash_change(stores, key, field, "", None)


def _restored(stores: Stores, key: str) -> Callable[[], object]:
    value, ends_ms = stores.redis.get(key), stores.redis.pexpiretime(key)
    return lambda: stores.redis.set(key, value, pxat=ends_ms)


def _shown_changes(stores: Stores, key: str) -> Iterator[tuple[Change, str]]:
    """Each member of what one key shows, its end, and that it is gone."""
    text, ends_ms, undo = stores.redis.get(key).decode(), stores.redis.pexpiretime(key), _restored(stores, key)
    for name, value in json.loads(text).items():
        other = json.dumps(value)
        other = f'"x{other[1:]}' if isinstance(value, str) else f"9{other}"
        changed = re.sub(rf'("{name}":)("[^"]*"|[\d.]+)', lambda found: found[1] + other, text)  # noqa: B023
        assert changed != text
        yield Change(name, partial(stores.redis.set, key, changed, pxat=ends_ms), undo), f"{key}: {name} is "
    yield Change("end", partial(stores.redis.pexpireat, key, ends_ms + 1), undo), f"{key}: it expires at "
    yield Change("no end", partial(stores.redis.persist, key), undo), f"{key}: it never expires"
    yield Change("gone", partial(stores.redis.delete, key), undo), f"{key}: it is missing"


def _left_over(stores: Stores, key: str, words: str) -> tuple[Change, str]:
    put = partial(stores.redis.set, key, '{"product_id":"x"}')
    return Change("left over", put, partial(stores.redis.delete, key)), f"{key}: {words}"


def _all_left_over(stores: Stores, member: str) -> Iterator[tuple[Change, str]]:
    yield _left_over(stores, f"cart:{member}:{uuid.uuid4()}", "it stands there, the copy has no such line")
    yield _left_over(stores, f"cart:{uuid.uuid4()}:summary", "it stands there without a copy")


def readers_changes(stores: Stores, member: str) -> list[Iterator[tuple[Change, str]]]:
    """Of each key that shows a cart, and of some that should not be there, with how a sentence about each begins."""
    keys = stores.cart_texts(member)
    return [*(_shown_changes(stores, key) for key in keys), _all_left_over(stores, member)]


# --- what nobody asked for: copies of what there is, under ids that nobody has


ADDED_ROWS = {
    "members": ("id", "member", {"email_folded": "nobody@example.com"}),
    "tw_email_claims": ("id", "member_claim", {}),
    "tw_ledger": ("id", "command", {}),
}


def added_rows(stores: Stores) -> Iterator[tuple[str, Change]]:
    for table, place in ADDED_ROWS.items():
        yield _added_row(stores, table, *place)


def added_documents(stores: Stores) -> Iterator[tuple[str, Change]]:
    for collection in COLLECTIONS:
        yield _added_document(stores, collection)


def added_keys(stores: Stores) -> Iterator[tuple[str, Change]]:
    yield _added_cart(stores)
    yield _added_command(stores)


def _added_row(stores: Stores, table: str, key: str, kind: str, more: dict[str, Any]) -> tuple[str, Change]:
    (row,) = stores.rows(f"select * from {table} where {ROWS[table]} order by 1 limit 1")
    row = {**row, key: uuid.uuid4(), **more}
    marks = ", ".join(["%s"] * len(row))
    return f"{kind} {row[key]}", Change(
        "",
        lambda: stores.rows(f"insert into {table} ({', '.join(row)}) values ({marks})", *row.values()),
        lambda: stores.rows(f"delete from {table} where {key} = %s", row[key]),
    )


def _added_document(stores: Stores, collection: str) -> tuple[str, Change]:
    document = dict(stores.mongo[collection].find_one(DOCUMENTS[collection]) or {})
    if collection == "products":
        document["_id"] = list(_neighbours(document["_id"]))[1]
        document["sku"] += "-2"
        name = "product "
    elif collection == "tw_ratings":
        member = uuid.uuid4()
        document["_id"] = f"{document['_id'].partition('/')[0]}/{member}"
        document["member_id"] = Binary(member.bytes, 4)
        name = f"product_rating {document['_id']}"
    else:
        command = uuid.uuid4()
        document["_id"] = f"{document['partition']}/{command}"
        document["command_id"] = Binary(command.bytes, 4)
        name = f"command {command}"
    return name, Change(
        "",
        lambda: stores.mongo[collection].insert_one(document),
        lambda: stores.mongo[collection].delete_one({"_id": document["_id"]}),
    )


def _added_cart(stores: Stores) -> tuple[str, Change]:
    key = next(stores.redis.scan_iter("tw:cart:*")).decode()
    cart, member = msgpack.unpackb(stores.redis.get(key) or b""), uuid.uuid4()
    copy = f"tw:cart:{member}"
    return f"cart {member}", Change(
        "",
        lambda: stores.redis.set(copy, msgpack.packb({**cart, "m": member.bytes})),
        lambda: stores.redis.delete(copy),
    )


def _added_command(stores: Stores) -> tuple[str, Change]:
    key = next(stores.redis.scan_iter("tw:ledger:*")).decode()
    packed, command = next(iter(stores.redis.hgetall(key).values())), uuid.uuid4()
    return f"command {command}", _hash_added(stores, key, command.bytes, packed)


def _hash_added(stores: Stores, key: str, field: bytes, value: bytes) -> Change:
    return Change("", lambda: stores.redis.hset(key, field, value), lambda: stores.redis.hdel(key, field))
