"""Every row, document and key of the three stores compared with what a fold of the command log gives, and some with one
another. As in compare_logs.py, sentences say what is wrong."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any

import ids
from cart_rules import Cart, Line
from compare_logs import Sentences
from model import Model, time_text
from rules import State
from stores import decimal_of, exact_json, milliseconds


def watermarks_are_at_the_end(domain: str, marks: list[int], ends: list[int], committed: list[int]) -> Sentences:
    wrong = [
        f"{domain} {p}: the watermark is {mark}, the log ends at {end}"
        for p, (mark, end) in enumerate(zip(marks, ends))
        if mark != end
    ]
    return wrong + [
        f"{domain} {p}: Kafka has offset {offset}, the store only {mark}"
        for p, (mark, offset) in enumerate(zip(marks, committed))
        if offset > mark
    ]


def _differences(name: str, expected: dict[str, Any], found: dict[str, Any]) -> Sentences:
    return [
        f"{name}: {key} is {found.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if found.get(key) != value
    ]


def _plain(value: Any) -> Any:
    """As the fold has it."""
    if isinstance(value, datetime):
        return milliseconds(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    return value.hex() if isinstance(value, bytes) else value


Tables = dict[str, list[dict[str, Any]]]
KEY_OF = {"tw_email_changes": ("member_id",), "tw_ledger": ("id", "partition")}


def folded_tables(model: Model) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """The tables of PostgreSQL as the log has them: name -> primary key -> columns. `detail` is for people."""
    state = model.state
    changes = {
        (member_id,): {
            "change_id": change["command"].id,
            "email": change["email"],
            "email_folded": change["email_folded"],
            "caller": change["command"].caller or NOBODY,
            "fingerprint": change["command"].fingerprint,
            "record_offset": change["command"].offset,
            "submitted_at": change["command"].submitted_ms,
        }
        for member_id, change in state.email_changes.items()
    }
    return {
        "members": {(i,): row for i, row in state.members.items()},
        "member_addresses": _with_member(state.addresses),
        "jwt_tokens": _with_member(state.tokens),
        "tw_email_claims": {(i,): row for i, row in state.claims.items()},
        "tw_email_changes": changes,
        "tw_ledger": _folded_ledger(model, "member"),
    }


def _folded_ledger(model: Model, folded: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {
        (ledger_id, number): {
            "caller": row.caller,
            "fingerprint": row.fingerprint,
            "command_type": row.type,
            "status": row.outcome.status,
            "http_status": row.outcome.http_status,
            "problem": row.outcome.problem,
            "resource": row.outcome.resource,
            "cause_offset": row.offset,
            "submitted_at": row.submitted_ms,
            "decided_at": row.at_ms,
        }
        for (domain, number), partition in model.partitions.items()
        if domain == folded
        for ledger_id, row in partition.ledger.items()
    }


def _with_member(rows: dict[str, dict[str, dict[str, Any]]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {(i,): {**row, "member_id": member_id} for member_id, mine in rows.items() for i, row in mine.items()}


def members_are_those_of_the_fold(model: Model, tables: Tables) -> Sentences:
    """Every row of every table."""
    wrong = []
    for name, expected in folded_tables(model).items():
        rows = [{column: _plain(value) for column, value in row.items()} for row in tables[name]]
        found = {tuple(row[column] for column in KEY_OF.get(name, ("id",))): row for row in rows}
        for key in expected.keys() | found.keys():
            what = f"{name} {' '.join(map(str, key))}"
            if key not in found or key not in expected:
                wrong.append(f"{what} is only in the {'log' if key in expected else 'store'}")
            else:
                wrong += _differences(f"{what}", expected[key], found[key])
    return wrong


def emails_are_unique(rows: list[dict[str, Any]]) -> Sentences:
    times = Counter(ids.fold_email(row["email"]) for row in rows)
    return [f"the folded form of an e-mail is there {n} times" for n in times.values() if n > 1] + [
        f"the e-mail of {row['id']} is folded wrongly"
        for row in rows
        if row["email_folded"] != ids.fold_email(row["email"])
    ]


def emails_are_their_members(rows: list[dict[str, Any]], claims: list[dict[str, Any]], id_key: bytes) -> Sentences:
    """By registration or by a claim, and a claim takes no address that somebody registered with."""
    owner = {str(claim["id"]): str(claim["member_id"]) for claim in claims}
    members = {str(row["id"]): ids.member_id(id_key, row["email"]) for row in rows}
    return [
        f"member {member_id} has an address that is not theirs"
        for member_id, identity in members.items()
        if identity != member_id and owner.get(identity) != member_id
    ] + [f"{claim} is claimed and a member" for claim in owner.keys() & members.keys()]


def addresses_have_one_default(addresses: list[dict[str, Any]]) -> Sentences:
    defaults: dict[Any, list[bool]] = defaultdict(list)
    for address in addresses:
        defaults[address["member_id"]].append(address["is_default"])
    return [
        f"member {m} has {sum(flags)} default addresses of {len(flags)}"
        for m, flags in defaults.items()
        if sum(flags) != 1 or len(flags) > 20
    ]


def products_are_those_of_the_fold(state: State, documents: list[dict[str, Any]]) -> Sentences:
    """Views and the rest of each document."""
    wrong = []
    found = {ids.product_id(document["sku"]): document for document in documents}
    for product_id in state.products.keys() | found.keys():
        if product_id not in found or product_id not in state.products:
            wrong.append(
                f"product {product_id} is only in the {'log' if product_id in state.products else 'store'}"
            )
            continue
        document = {**found[product_id]}
        for name in ("created_at", "updated_at"):
            document[name] = milliseconds(document[name])
        for name in ("price", "discount_price", "effective_price", "rating"):
            if document[name] is not None:
                document[name] = decimal_of(document[name]) * 100
        wrong += _differences(f"product {product_id}", state.products[product_id], document)
        if document["_id"].binary != ids.product_object_id(document["sku"]):
            wrong.append(f"product {product_id} has another _id than its SKU gives")
    return wrong


def ratings_are_those_of_the_fold(state: State, documents: list[dict[str, Any]]) -> Sentences:
    """One document a member and product; those that were withdrawn have 0 stars. A product's mean is the fold's."""
    expected = {
        (product_id, member_id): rating
        for product_id, mine in state.ratings.items()
        for member_id, rating in mine.items()
    }
    found = {
        (ids.product_id_of(document["product_id"].binary), str(uuid.UUID(bytes=bytes(document["member_id"])))): document
        for document in documents
    }
    wrong = ["a member has two ratings of a product"] if len(found) < len(documents) else []
    for key in expected.keys() | found.keys():
        if key not in expected or key not in found:
            wrong.append(f"the rating {' by '.join(key)} is only in the {'log' if key in expected else 'store'}")
            continue
        document = {**found[key], "rated_at": milliseconds(found[key]["rated_at"])}
        wrong += _differences(f"the rating {' by '.join(key)}", expected[key], document)
    return wrong


NOBODY = str(uuid.UUID(int=0))


def _as_folded(document: dict[str, Any]) -> dict[str, Any]:
    """A ledger row of MongoDB as the fold has it."""
    caller = str(uuid.UUID(bytes=bytes(document["caller"])))
    return {
        "caller": None if caller == NOBODY else caller,
        "fingerprint": bytes(document["fingerprint"]).hex(),
        "command_type": document["type"],
        "status": document["status"],
        "http_status": document["http_status"],
        "problem": document["problem"] or None,
        "resource": document["resource"] or None,
        "cause_offset": document["offset"],
        "submitted_at": milliseconds(document["submitted_at"]),
        "decided_at": milliseconds(document["at"]),
    }


def product_ledger_is_that_of_the_fold(model: Model, documents: list[dict[str, Any]]) -> Sentences:
    """Views without a key have none."""
    expected = _folded_ledger(model, "product")
    found = {
        (str(uuid.UUID(bytes=bytes(document["command_id"]))), document["partition"]): document for document in documents
    }
    wrong = []
    for key in expected.keys() | found.keys():
        what = f"the ledger row {key}"
        if key not in found or key not in expected:
            wrong.append(f"{what} of a product's command is only in the {'log' if key in expected else 'store'}")
        else:
            wrong += _differences(what, expected[key], _as_folded(found[key]))
    return wrong


def cart_ledger_is_that_of_the_fold(model: Model, found: set[tuple[str, int]]) -> Sentences:
    """Which rows there are; reprices have none."""
    expected = _folded_ledger(model, "cart").keys()
    return [
        f"the ledger row {key} of a cart's command is only in the {'log' if key in expected else 'store'}"
        for key in expected ^ found
    ]


def _price_text(minor: int) -> Decimal:
    return Decimal(minor).scaleb(-2)


def _expected_keys(member_id: str, cart: Cart) -> dict[str, dict[str, Any]]:
    keys: dict[str, dict[str, Any]] = {
        f"cart:{member_id}:{line.product_id}": {
            "product_id": line.product_id,
            "product_name": line.product_name,
            "price": _price_text(line.price_minor),
            "quantity": line.quantity,
            "added_at": time_text(line.added_ms),
        }
        for line in cart.lines.values()
    }
    if cart.lines:
        keys[f"cart:{member_id}:summary"] = {
            "total_items": cart.items,
            "total_price": _price_text(cart.price_minor),
            "updated_at": time_text(cart.updated_ms),
        }
    return keys


def carts_are_those_of_the_fold(state: State, keys: dict[str, tuple[str, int]]) -> Sentences:
    """Each key's content and end, and totals."""
    wrong = []
    expected: dict[str, tuple[dict[str, Any], int]] = {}
    for member_id, cart in state.carts.items():
        for key, value in _expected_keys(member_id, cart).items():
            expected[key] = (value, cart.ends_ms)
    for key in expected.keys() | keys.keys():
        if key not in keys or key not in expected:
            wrong.append(f"{key} is only in the {'log' if key in expected else 'store'}")
            continue
        text, ends_ms = keys[key]
        if exact_json(text) != expected[key][0]:
            wrong.append(f"{key} is {text}, expected {expected[key][0]}")
        if ends_ms != expected[key][1]:
            wrong.append(f"{key} ends at {ends_ms}, expected {expected[key][1]}")
    unavailable = {
        f"cart:{member_id}:{line.product_id}"
        for member_id, cart in state.carts.items()
        for line in cart.lines.values()
        if not line.available
    }
    return wrong + carts_agree_with_themselves(keys, unavailable)


def copies_are_those_of_the_fold(state: State, copies: dict[str, dict[str, Any]]) -> Sentences:
    """What the worker decides on, which holds what readers' keys do not show."""
    expected = {
        member_id: {
            "m": member_id,
            "v": cart.version,
            "c": cart.created_ms,
            "u": cart.updated_ms,
            "e": cart.ends_ms,
            "l": [_packed_line(line) for line in cart.lines.values()],
        }
        for member_id, cart in state.carts.items()
    }
    wrong = []
    for member_id in expected.keys() | copies.keys():
        if member_id not in expected or member_id not in copies:
            where = "log" if member_id in expected else "store"
            wrong.append(f"the worker's copy of the cart of {member_id} is only in the {where}")
        else:
            wrong += _differences(f"the cart of {member_id}", expected[member_id], copies[member_id])
    return wrong


def _packed_line(line: Line) -> dict[str, Any]:
    packed = {
        "p": line.product_id,
        "n": line.product_name,
        "r": line.price_minor,
        "q": line.quantity,
        "t": line.added_ms,
        "w": line.product_version,
        "o": line.previous_minor,
        "a": line.available,
    }
    return {name: value for name, value in packed.items() if value is not None}


def holders_are_those_of_the_fold(state: State, holders: dict[str, set[str]]) -> Sentences:
    """Whom the reprice policy asks for; product -> members."""
    expected: dict[str, set[str]] = defaultdict(set)
    for member_id, cart in state.carts.items():
        for product_id in cart.lines:
            expected[product_id].add(member_id)
    return [
        f"the holders of {product_id} are {holders.get(product_id)}, expected {expected.get(product_id)}"
        for product_id in expected.keys() | holders.keys()
        if holders.get(product_id) != expected.get(product_id)
    ]


def carts_agree_with_themselves(keys: dict[str, tuple[str, int]], unavailable: Collection[str] = ()) -> Sentences:
    """Without the log: summary and items, and their ends. `unavailable`: items that count in neither total."""
    wrong = []
    carts: dict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
    for key, value in keys.items():
        _, member_id, what = key.split(":")
        carts[member_id][what] = value
    for member_id, cart in carts.items():
        if "summary" not in cart or len(cart) == 1:
            wrong.append(
                f"cart of {member_id} has {'no summary' if len(cart) > 1 or 'summary' not in cart else 'no items'}"
            )
            continue
        if len({ends_ms for _, ends_ms in cart.values()}) != 1:
            wrong.append(f"keys of the cart of {member_id} end at different times")
        summary = exact_json(cart["summary"][0])
        items = [
            exact_json(text)
            for what, (text, _) in cart.items()
            if what != "summary" and f"cart:{member_id}:{what}" not in unavailable
        ]
        total = sum((item["price"] * item["quantity"] for item in items), Decimal(0))
        if (summary["total_items"], summary["total_price"]) != (sum(item["quantity"] for item in items), total):
            wrong.append(f"the summary of {member_id} is {summary}, its items add up to {total}")
    return wrong
