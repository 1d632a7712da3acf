"""Commands straight into their logs, as an edge wrote them a moment ago: for what an edge would not write, or not now."""

import uuid
from typing import Any

import msgpack

from model import time_text
from topics import Headers, Topics


def headers_of(ce_type: str) -> Headers:
    return [
        ("ce_id", str(uuid.uuid4())),
        ("ce_type", ce_type),
        ("ce_source", "/somewhere"),
        ("ce_time", time_text(1_750_000_000_000)),
        ("ce_specversion", "1.0"),
        ("content-type", "application/msgpack"),
    ]


def write_all(topics: Topics, ce_type: str, commands: list[tuple[str, dict[str, Any]]]) -> None:
    """(key, body) each."""
    records = [(key, msgpack.packb(body), headers_of(ce_type)) for key, body in commands]
    topics.write_all(f"{ce_type.split('.')[0]}.commands", records)


def write(topics: Topics, ce_type: str, key: str, /, **body: Any) -> None:
    write_all(topics, ce_type, [(key, body)])


def change_product(topics: Topics, product: str, **fields: Any) -> None:
    nothing = {"clear_description": False, "clear_discount_price": False, "removed_images": []}
    write(topics, "product.change.v1", product, product_id=product, **{**nothing, **fields})
