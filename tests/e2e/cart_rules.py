"""What the commands of carts mean, written a second time in plain Python."""

from dataclasses import dataclass, field
from typing import Any

from decisions import Command, Outcome, rejected, succeeded
from messages import minor_of, money_text

CART_LIFE_MS = 7 * 24 * 60 * 60 * 1000
CART = "/v1/cart"


@dataclass
class Line:
    product_id: str
    product_name: str
    price_minor: int
    quantity: int
    added_ms: int
    product_version: int
    previous_minor: int | None = None  # before a change that the member has not acknowledged
    available: bool = True

    def follow(self, c: Command, available: bool) -> bool:
        """What the command knows of the product, when that is newer; was it?"""
        if c.body["product_version"] <= self.product_version:
            return False
        price = minor_of(c.body["price"])
        accepted = self.price_minor if self.previous_minor is None else self.previous_minor
        self.previous_minor = None if price == accepted else accepted
        self.price_minor, self.product_name = price, c.body["product_name"]
        self.product_version, self.available = c.body["product_version"], available
        return True


@dataclass
class Cart:
    version: int
    created_ms: int = 0
    updated_ms: int = 0
    lines: dict[str, Line] = field(default_factory=dict)

    @property
    def for_sale(self) -> list[Line]:
        return [line for line in self.lines.values() if line.available]

    @property
    def items(self) -> int:
        return sum(line.quantity for line in self.for_sale)

    @property
    def price_minor(self) -> int:
        return sum(line.quantity * line.price_minor for line in self.for_sale)

    @property
    def ends_ms(self) -> int:
        return self.updated_ms + CART_LIFE_MS


class CartRules:
    """The store of carts, those that ended and that nobody changed since among them. A rule is a method named after its
    command; a refusal changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.carts: dict[str, Cart] = {}

    def live_cart(self, member_id: str, clock_ms: int) -> Cart | None:
        """What has ended has ended."""
        cart = self.carts.get(member_id)
        return cart if cart and clock_ms < cart.ends_ms else None

    def _lines(self, c: Command) -> dict[str, Line]:
        """As they are; a new cart is not kept."""
        cart = self.live_cart(c.body["member_id"], c.clock_ms)
        return cart.lines if cart else {}

    def _touch(self, c: Command) -> Cart:
        """A change by the member. A cart's first version is behind the offset of the record that makes it; then it
        counts by one."""
        cart = self.live_cart(c.body["member_id"], c.clock_ms) or Cart(c.offset, c.at_ms)
        self.carts[c.body["member_id"]] = cart
        cart.version += 1
        cart.updated_ms = max(cart.updated_ms, c.at_ms)
        return cart

    @staticmethod
    def _tell_cart(c: Command, what: str, cart: Cart, **more: Any) -> None:
        c.emit(
            f"cart.{what}.v1",
            member_id=c.body["member_id"],
            **more,
            version=cart.version,
            total_items=cart.items,
            total_price=money_text(cart.price_minor),
            expires_at=cart.ends_ms,
        )

    @staticmethod
    def _line_told(line: Line) -> dict[str, Any]:
        return {
            "product_id": line.product_id,
            "product_name": line.product_name,
            "price": money_text(line.price_minor),
            "quantity": line.quantity,
            "product_version": line.product_version,
        }

    # --- lines

    def _put(self, c: Command, quantity: int, what: str, **more: Any) -> Outcome:
        product_id, lines = c.body["product_id"], self._lines(c)
        if quantity > 999:
            return rejected(422, "line-quantity-limit")
        if len(lines) >= 100 and product_id not in lines:
            return rejected(422, "cart-lines-limit")
        cart = self._touch(c)
        if product_id not in cart.lines:
            name, price = c.body["product_name"], minor_of(c.body["price"])
            cart.lines[product_id] = Line(product_id, name, price, 0, c.at_ms, c.body["product_version"])
        line = cart.lines[product_id]
        line.follow(c, available=True)
        line.quantity = quantity
        self._tell_cart(c, what, cart, **self._line_told(line), **more)
        return succeeded(200, CART)

    def _drop(self, c: Command, http_status: int) -> Outcome:
        cart = self._touch(c)
        del cart.lines[c.body["product_id"]]
        self._tell_cart(c, "item_removed", cart, product_id=c.body["product_id"])
        return succeeded(http_status, CART)

    def cart_add_item(self, c: Command) -> Outcome:
        line = self._lines(c).get(c.body["product_id"])
        quantity = (line.quantity if line else 0) + c.body["quantity"]
        return self._put(c, quantity, "item_added", added=c.body["quantity"])

    def cart_set_item(self, c: Command) -> Outcome:
        if c.body["quantity"]:
            return self._put(c, c.body["quantity"], "item_set")
        if c.body["product_id"] not in self._lines(c):
            return succeeded(200, CART)
        return self._drop(c, 200)

    def cart_remove_item(self, c: Command) -> Outcome:
        if c.body["product_id"] not in self._lines(c):
            return rejected(404, "not-found")
        return self._drop(c, 204)

    # --- the whole cart

    def cart_clear(self, c: Command) -> Outcome:
        if self._lines(c):
            cart = self._touch(c)
            cart.lines.clear()
            c.emit("cart.cleared.v1", member_id=c.body["member_id"], version=cart.version, expires_at=cart.ends_ms)
        return succeeded(204, CART)

    def cart_acknowledge(self, c: Command) -> Outcome:
        changed = [line for line in self._lines(c).values() if line.previous_minor is not None]
        if changed:
            cart = self._touch(c)
            for line in changed:
                line.previous_minor = None
            self._tell_cart(c, "acknowledged", cart)
        return succeeded(204, CART)

    def cart_reprice(self, c: Command) -> Outcome:
        """The catalogue's doing, not the member's: the cart's end stays where it is."""
        line = self._lines(c).get(c.body["product_id"])
        if line and line.follow(c, available=c.body["available"]):
            cart = self.carts[c.body["member_id"]]
            cart.version += 1
            previous = None if line.previous_minor is None else money_text(line.previous_minor)
            more = {"previous_price": previous, "available": line.available}
            self._tell_cart(c, "item_repriced", cart, **self._line_told(line), **more)
        return succeeded(200, CART)
