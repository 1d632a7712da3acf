#!/usr/bin/env python3
"""A merchant and a shopper over HTTP, with nothing but Python's standard library.

    shop.py EDGE_URL MERCHANT_TOKEN

The merchant's token has the scope products:write. Prints what happens, a line each.
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

ATTEMPTS = 5


class Problem(Exception):
    """A problem document (RFC 9457). Programs look at `code`, people at the text."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(f"{document['status']} {document['code']}: {document['detail']}")
        self.code = document["code"]
        self.errors = document.get("errors", [])


class Shop:
    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        self.token = token

    def _once(self, method: str, path: str, body: Any, fields: dict[str, str]) -> tuple[int, Any, Any]:
        request = urllib.request.Request(self.url + path, method=method, headers=fields)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                content = answer.read()
                return answer.status, answer.headers, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            content = error.read()
            return error.code, error.headers, json.loads(content) if content else None

    def send(self, method: str, path: str, body: Any = None, fields: dict[str, str] | None = None) -> tuple[Any, Any]:
        """Tries again what can be tried again; returns header fields and body, raises a Problem for the rest."""
        for attempt in range(ATTEMPTS):
            try:
                status, answered, document = self._once(method, path, body, fields or {})
            except (urllib.error.URLError, TimeoutError):  # perhaps it came through: the same key makes it safe
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(2**attempt * 0.2)
                continue
            if status < 400:
                return answered, document
            if status not in (429, 500, 503) or attempt == ATTEMPTS - 1:
                break
            time.sleep(float(answered.get("Retry-After", 1)))
        raise Problem(document)

    def get(self, path: str, fields: dict[str, str] | None = None) -> Any:
        return self.send("GET", path, fields=fields)[1]

    def write(self, method: str, path: str, body: Any = None, fields: dict[str, str] | None = None) -> Any:
        """A write that happens once, however often it is tried, and is over when this returns."""
        once = {"Idempotency-Key": str(uuid.uuid4()), "Prefer": "wait=5", **(fields or {})}
        answered, document = self.send(method, path, body, once)
        if document and document.get("status") == "accepted":  # it takes longer: ask what became of it
            return self.end_of(answered["Location"])
        return document

    def end_of(self, location: str) -> Any:
        """Waits for a command's end; the thing it made or changed."""
        while True:
            command = self.get(location, {"Prefer": "wait=5"})
            if command["status"] != "accepted":
                break
        if "problem" in command:
            raise Problem(command["problem"])
        return self.get(command["resource"]) if command["http_status"] != 204 else None

    def pages(self, path: str) -> Any:
        """All items of a list."""
        cursor = ""
        while cursor is not None:
            page = self.get(f"{path}{'&' if '?' in path else '?'}limit=100{'&cursor=' + cursor if cursor else ''}")
            yield from page["items"]
            cursor = page["next_cursor"]


def sell(merchant: Shop) -> dict[str, Any]:
    product = merchant.write(
        "POST",
        "/v1/products",
        {"sku": f"TEE-{uuid.uuid4().hex[:10]}", "name": "Black T-shirt, M", "price": "199.00", "category": "shirts"},
    )
    print(f"the merchant sells {product['name']} at {product['price']}: {product['product_id']}")
    return dict(product)


def join(shop: Shop) -> Shop:
    email, password = f"ana.{uuid.uuid4().hex[:10]}@example.com", f"correct horse {uuid.uuid4().hex}"
    shop.write("POST", "/v1/members", {"email": email, "password": password, "full_name": "Ana Lim"})
    _, tokens = shop.send("POST", "/v1/auth/login", {"email": email, "password": password})
    # Good for tokens["expires_in"] seconds; then POST /v1/auth/refresh with the refresh token gives the next pair.
    print(f"a shopper joined: {tokens['member_id']}")
    return Shop(shop.url, tokens["access_token"])


def buy(shopper: Shop, product: dict[str, Any]) -> None:
    cart = shopper.write("POST", "/v1/cart/items", {"product_id": product["product_id"], "quantity": 2})
    print(f"the cart holds {cart['summary']['total_items']} pieces for {cart['summary']['total_price']}")
    try:
        shopper.write("POST", "/v1/cart/items", {"product_id": product["product_id"], "quantity": 999})
    except Problem as problem:
        assert problem.code == "line-quantity-limit"
        print(f"too many were refused: {problem}")


def reprice(merchant: Shop, product: dict[str, Any]) -> None:
    """Changes what was read, and only that: somebody who was faster is not overwritten."""
    path = f"/v1/products/{product['product_id']}"
    answered, _ = merchant.send("GET", path)
    merchant.write("PATCH", path, {"price": "149.00"}, {"If-Match": answered["ETag"]})
    try:
        merchant.write("PATCH", path, {"price": "99.00"}, {"If-Match": answered["ETag"]})
    except Problem as problem:
        assert problem.code == "precondition-failed"
        print("the price is 149.00; a second change to the version before was refused")


def main(url: str, token: str) -> int:
    anyone, merchant = Shop(url), Shop(url, token)
    product = sell(merchant)
    shopper = join(anyone)
    buy(shopper, product)
    reprice(merchant, product)
    found = [p["sku"] for p in anyone.pages(f"/v1/products?sku={product['sku']}")]
    assert found == [product["sku"]]
    print(f"the catalogue has {found[0]}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
