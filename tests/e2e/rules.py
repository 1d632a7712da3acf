"""What each command means, written a second time in plain Python: a state in, an outcome and events out.

Left out because no test lives that long: a cart's end after 7 days, tokens that ended a day ago.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import ids
from messages import minor_of, money_text

CART_LIFE_MS = 7 * 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Outcome:
    status: str
    http_status: int
    problem: str | None = None
    resource: str | None = None


def succeeded(http_status: int, resource: str) -> Outcome:
    return Outcome("succeeded", http_status, None, resource)


def rejected(http_status: int, problem: str) -> Outcome:
    return Outcome("rejected", http_status, problem)


class Command(Protocol):
    """A good command on its way; emit() publishes an event of it, members that are None left out."""

    id: str
    body: dict[str, Any]
    offset: int
    at_ms: int

    def emit(self, ce_type: str, **body: Any) -> None: ...

    def may_tell_view(self, **body: Any) -> None:
        """The coalesced event of the batch may stand here."""


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


class State:
    """All three stores. A rule is a method named after its command; a refusal changes nothing."""

    def __init__(self) -> None:
        self.members: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.products: dict[str, dict[str, Any]] = {}
        self.carts: dict[str, Cart] = {}

    def decide(self, command_type: str, c: Command) -> Outcome:
        """`command_type`: cart.add_item is cart_add_item() here."""
        outcome: Outcome = getattr(self, command_type.replace(".", "_"))(c)
        return outcome

    def version(self, domain: str, body: dict[str, Any]) -> int:
        """What If-Match compares."""
        if domain == "cart":
            return self._cart(body).version
        known = self.products.get(body["product_id"]) if domain == "product" else self.members.get(body["member_id"])
        return int(known["version"]) if known else 0

    # --- members

    def _new_member(self, c: Command, event: str, resource: str) -> Outcome:
        member_id = c.body["member_id"]
        if member_id in self.members:
            return rejected(409, "email-taken")
        self.members[member_id] = {
            "email": c.body["email"],
            "email_folded": c.body["email_folded"],
            "password_hash": c.body.get("password_hash"),
            "full_name": c.body["full_name"],
            "phone_number": c.body.get("phone_number"),
            "status": "ACTIVE",
            "created_at": c.at_ms,
            "updated_at": c.at_ms,
            "last_login_at": None,
            "version": 1,
            "credential_version": 1,
            "is_service": "password_hash" not in c.body,
        }
        c.emit(event, member_id=member_id, status="ACTIVE", version=1)
        return succeeded(201, resource)

    def member_register(self, c: Command) -> Outcome:
        return self._new_member(c, "member.registered.v1", "/v1/members/me")

    def member_register_service(self, c: Command) -> Outcome:
        return self._new_member(c, "member.service_registered.v1", f"/v1/members/{c.body['member_id']}")

    def _add_token(self, c: Command, kind: str, token_hash: bytes, expires_at: int, scope: str, label: str) -> str:
        token = ids.derived_id(c.id, c.body["member_id"], kind)
        self.tokens[token] = {
            "member_id": c.body["member_id"],
            "token_hash": token_hash.hex(),
            "expires_at": expires_at,
            "is_revoked": False,
            "created_at": c.at_ms,
            "family_id": ids.derived_id(c.id, c.body["member_id"], "family"),
            "kind": kind,
            "scope": scope,
            "label": label,
        }
        return token

    def member_start_session(self, c: Command) -> Outcome:
        member = self.members.get(c.body["member_id"])
        if not member:
            return rejected(404, "not-found")
        if member["is_service"] or member["credential_version"] != c.body["credential_version"]:
            return rejected(409, "stale-credentials")
        if ids.derived_id(c.id, c.body["member_id"], "access") in self.tokens:
            return rejected(422, "idempotency-key-reused")
        tokens = {
            f"{kind}_token_id": self._add_token(
                c, kind, c.body[f"{kind}_token_hash"], c.body[f"{kind}_expires_at"], "", ""
            )
            for kind in ("access", "refresh")
        }
        member["last_login_at"] = c.at_ms
        c.emit(
            "member.session_started.v1",
            member_id=c.body["member_id"],
            **tokens,
            access_expires_at=c.body["access_expires_at"],
            refresh_expires_at=c.body["refresh_expires_at"],
            version=member["version"],
        )
        return succeeded(200, "/v1/auth/sessions/" + ids.derived_id(c.id, c.body["member_id"], "family"))

    def member_issue_token(self, c: Command) -> Outcome:
        member = self.members.get(c.body["member_id"])
        if not member or not member["is_service"]:
            return rejected(404, "not-found")
        if ids.derived_id(c.id, c.body["member_id"], "service") in self.tokens:
            return rejected(422, "idempotency-key-reused")
        token = self._add_token(
            c, "service", c.body["token_hash"], c.body["expires_at"], c.body["scope"], c.body["label"]
        )
        c.emit(
            "member.token_issued.v1",
            member_id=c.body["member_id"],
            token_id=token,
            scope=c.body["scope"],
            expires_at=c.body["expires_at"],
            version=member["version"],
        )
        return succeeded(201, "/v1/auth/sessions/" + ids.derived_id(c.id, c.body["member_id"], "family"))

    # --- products

    def product_create(self, c: Command) -> Outcome:
        product_id, price = c.body["product_id"], minor_of(c.body["price"])
        discount = None if c.body["discount_price"] is None else minor_of(c.body["discount_price"])
        if discount is not None and discount >= price:
            return rejected(422, "price-rule")
        if product_id in self.products:
            return rejected(409, "sku-taken")
        effective = price if discount is None else discount
        shared = {name: c.body[name] for name in ("sku", "name", "slug", "category", "tags", "is_active")}
        self.products[product_id] = {
            **shared,
            "description": c.body["description"],
            "price": price,
            "discount_price": discount,
            "effective_price": effective,
            "images": c.body["images"],
            "view_count": 0,
            "rating": 0,
            "review_count": 0,
            "created_at": c.at_ms,
            "updated_at": c.at_ms,
            "version": 1,
        }
        c.emit(
            "product.created.v1",
            product_id=product_id,
            **shared,
            price=money_text(price),
            discount_price=None if discount is None else money_text(discount),
            effective_price=money_text(effective),
            version=1,
        )
        return succeeded(201, f"/v1/products/{product_id}")

    def product_record_view(self, c: Command) -> Outcome:
        product_id = c.body["product_id"]
        product = self.products.get(product_id)
        if not product:
            return rejected(404, "not-found")
        if not product["is_active"]:
            return rejected(410, "gone")
        product["view_count"] += 1
        c.may_tell_view(product_id=product_id, view_count=product["view_count"], version=product["version"])
        return succeeded(202, f"/v1/products/{product_id}")

    # --- carts

    def _cart(self, body: dict[str, Any]) -> Cart:
        """As it is; not kept when it is new."""
        return self.carts.get(body["member_id"], Cart(0))

    def _touch(self, c: Command) -> Cart:
        """A cart's first version is behind the offset of the record that makes it; then it counts by one."""
        cart = self.carts.setdefault(c.body["member_id"], Cart(c.offset))
        cart.version += 1
        cart.updated_ms = max(cart.updated_ms, c.at_ms)
        return cart

    @staticmethod
    def _emit_cart(c: Command, ce_type: str, cart: Cart, **more: Any) -> None:
        c.emit(
            ce_type,
            member_id=c.body["member_id"],
            product_id=c.body["product_id"],
            **more,
            version=cart.version,
            total_items=cart.items,
            total_price=money_text(cart.price_minor),
            expires_at=cart.ends_ms,
        )

    def _put(self, c: Command, quantity: int, ce_type: str, added: int | None) -> Outcome:
        product_id, before = c.body["product_id"], self._cart(c.body)
        if quantity > 999:
            return rejected(422, "line-quantity-limit")
        if len(before.lines) >= 100 and product_id not in before.lines:
            return rejected(422, "cart-lines-limit")
        cart = self._touch(c)
        line = cart.lines.setdefault(product_id, Line(product_id, "", 0, 0, c.at_ms, 0))
        if c.body["product_version"] > line.product_version:
            line.product_name, line.product_version = c.body["product_name"], c.body["product_version"]
            line.price_minor = minor_of(c.body["price"])
        line.quantity = quantity
        self._emit_cart(
            c,
            ce_type,
            cart,
            product_name=line.product_name,
            price=money_text(line.price_minor),
            added=added,
            quantity=quantity,
            product_version=line.product_version,
        )
        return succeeded(200, "/v1/cart")

    def _drop(self, c: Command, http_status: int) -> Outcome:
        cart = self._touch(c)
        del cart.lines[c.body["product_id"]]
        self._emit_cart(c, "cart.item_removed.v1", cart)
        return succeeded(http_status, "/v1/cart")

    def cart_add_item(self, c: Command) -> Outcome:
        line = self._cart(c.body).lines.get(c.body["product_id"])
        quantity = (line.quantity if line else 0) + c.body["quantity"]
        return self._put(c, quantity, "cart.item_added.v1", c.body["quantity"])

    def cart_set_item(self, c: Command) -> Outcome:
        if c.body["quantity"]:
            return self._put(c, c.body["quantity"], "cart.item_set.v1", None)
        if c.body["product_id"] not in self._cart(c.body).lines:
            return succeeded(200, "/v1/cart")
        return self._drop(c, 200)

    def cart_remove_item(self, c: Command) -> Outcome:
        if c.body["product_id"] not in self._cart(c.body).lines:
            return rejected(404, "not-found")
        return self._drop(c, 204)
