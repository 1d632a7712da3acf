"""What each command means, written a second time in plain Python: a state in, an outcome and events out. Products and
carts are here, members in member_rules.py.

Left out because no test lives that long: a cart's end after 7 days.
"""

from dataclasses import dataclass, field
from typing import Any

from decisions import Command, Outcome, rejected, succeeded
from member_rules import MemberRules
from messages import minor_of, money_text

CART_LIFE_MS = 7 * 24 * 60 * 60 * 1000


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


class State(MemberRules):
    """All three stores. A rule is a method named after its command; a refusal changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.products: dict[str, dict[str, Any]] = {}
        self.carts: dict[str, Cart] = {}

    def decide(self, command_type: str, c: Command) -> Outcome:
        """`command_type`: cart.add_item is cart_add_item() here."""
        outcome: Outcome = getattr(self, command_type.replace(".", "_"))(c)
        return outcome

    def version(self, domain: str, key: str) -> int:
        """What If-Match compares: the version of the aggregate with that id."""
        if domain == "cart":
            return self.carts[key].version if key in self.carts else 0
        known = self.products.get(key) if domain == "product" else self.members.get(key)
        return int(known["version"]) if known else 0

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
