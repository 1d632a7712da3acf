"""What the commands of products mean, written a second time in plain Python."""

import math
from collections import defaultdict
from fractions import Fraction
from typing import Any

from decisions import Command, Outcome, rejected, succeeded
from messages import minor_of, money_text

IMAGES_MAX = 20
CHANGEABLE = ("name", "slug", "description", "price", "discount_price", "effective_price", "category", "tags", "images",
              "is_active")
NOT_FOUND = rejected(404, "not-found")
GONE = rejected(410, "gone")
PRICE_RULE = rejected(422, "price-rule")

Product = dict[str, Any]  # money in minor units, the rating in hundredths, times in ms


def _minor(text: str | None) -> int | None:
    return None if text is None else minor_of(text)


def mean_hundredths(stars: list[int]) -> int:
    """Half up; 0 of none."""
    return math.floor(Fraction(100 * sum(stars), len(stars)) + Fraction(1, 2)) if stars else 0


def _given_or_cleared(c: Command, name: str, before: Any) -> Any:
    if c.body[name] is not None:
        return c.body[name]
    return None if c.body[f"clear_{name}"] else before


class ProductRules:
    """The store of products. A rule is a method named after its command; a refusal changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.products: dict[str, Product] = {}
        # product -> member -> {"stars", "rated_at"}; 0 stars: withdrawn
        self.ratings: dict[str, dict[str, dict[str, int]]] = defaultdict(dict)

    @staticmethod
    def _tell_all(c: Command, ce_type: str, product: Product, **more: Any) -> None:
        discount = product["discount_price"]
        names = ("sku", "name", "slug", "description", "category", "tags", "images", "is_active", "version")
        c.emit(
            ce_type,
            product_id=c.body["product_id"],
            **{name: product[name] for name in names},
            price=money_text(product["price"]),
            discount_price=None if discount is None else money_text(discount),
            effective_price=money_text(product["effective_price"]),
            **more,
        )

    # --- what merchants do

    @staticmethod
    def _with_prices(product: Product, price: int, discount: int | None) -> Product | None:
        """None when the discount is not below the price."""
        if discount is not None and discount >= price:
            return None
        effective = price if discount is None else discount
        return {**product, "price": price, "discount_price": discount, "effective_price": effective}

    def product_create(self, c: Command) -> Outcome:
        product_id = c.body["product_id"]
        texts = ("sku", "name", "slug", "description", "category", "tags", "images", "is_active")
        shared = {name: c.body[name] for name in texts}
        product = self._with_prices(shared, minor_of(c.body["price"]), _minor(c.body["discount_price"]))
        if product is None:
            return PRICE_RULE
        if product_id in self.products:
            return rejected(409, "sku-taken")
        product |= {"view_count": 0, "rating": 0, "rating_sum": 0, "review_count": 0}
        product |= {"created_at": c.at_ms, "updated_at": c.at_ms, "version": 1, "revision": 1}
        self.products[product_id] = product
        self._tell_all(c, "product.created.v1", product)
        return succeeded(201, f"/v1/products/{product_id}")

    def _keep(self, c: Command, after: Product) -> None:
        """What changes nothing is no change."""
        before = self.products[c.body["product_id"]]
        if after == before:
            return
        changed = [name for name in CHANGEABLE if after[name] != before[name]]
        before.update(after, version=before["version"] + 1, updated_at=max(before["updated_at"], c.at_ms))
        before["revision"] += 1
        self._tell_all(c, "product.changed.v1", before, changed=changed)

    def product_change(self, c: Command) -> Outcome:
        before = self.products.get(c.body["product_id"])
        if not before:
            return NOT_FOUND
        plain = ("name", "slug", "category", "tags", "is_active")
        given = {name: c.body[name] for name in plain if c.body[name] is not None}
        given["description"] = _given_or_cleared(c, "description", before["description"])
        left = {name: url for name, url in before["images"].items() if name not in c.body["removed_images"]}
        given["images"] = {**left, **(c.body["images"] or {})}
        price, discount = _minor(c.body["price"]), _minor(c.body["discount_price"])
        if discount is None and not c.body["clear_discount_price"]:
            discount = before["discount_price"]
        after = self._with_prices({**before, **given}, before["price"] if price is None else price, discount)
        if after is None:
            return PRICE_RULE
        if len(after["images"]) > IMAGES_MAX:
            return rejected(422, "images-limit")
        self._keep(c, after)
        return succeeded(200, f"/v1/products/{c.body['product_id']}")

    def product_deactivate(self, c: Command) -> Outcome:
        before = self.products.get(c.body["product_id"])
        if not before:
            return NOT_FOUND
        self._keep(c, {**before, "is_active": False})
        return succeeded(204, f"/v1/products/{c.body['product_id']}")

    # --- what customers do: neither version nor updated_at moves

    def product_record_view(self, c: Command) -> Outcome:
        product_id = c.body["product_id"]
        product = self.products.get(product_id)
        if not product:
            return NOT_FOUND
        if not product["is_active"]:
            return GONE
        product["view_count"] += 1
        c.may_tell_view(product_id=product_id, view_count=product["view_count"], version=product["version"])
        return succeeded(202, f"/v1/products/{product_id}")

    def _stars(self, c: Command) -> int:
        rating = self.ratings[c.body["product_id"]].get(c.body["member_id"])
        return rating["stars"] if rating else 0

    def _put_stars(self, c: Command, stars: int) -> None:
        product_id, member_id = c.body["product_id"], c.body["member_id"]
        product, before = self.products[product_id], self.ratings[product_id].get(member_id)
        rated_at = max(before["rated_at"], c.at_ms) if before else c.at_ms
        self.ratings[product_id][member_id] = {"stars": stars, "rated_at": rated_at}
        counted = [rating["stars"] for rating in self.ratings[product_id].values() if rating["stars"]]
        product["revision"] += 1
        product.update(rating=mean_hundredths(counted), rating_sum=sum(counted), review_count=len(counted))
        c.emit(
            "product.rated.v1",
            product_id=product_id,
            member_id=member_id,
            stars=stars or None,
            rating=money_text(product["rating"]),
            review_count=product["review_count"],
            version=product["version"],
        )

    def product_rate(self, c: Command) -> Outcome:
        product = self.products.get(c.body["product_id"])
        if not product:
            return NOT_FOUND
        if not product["is_active"]:
            return GONE
        if self._stars(c) != c.body["stars"]:
            self._put_stars(c, c.body["stars"])
        return succeeded(200, f"/v1/products/{c.body['product_id']}")

    def product_withdraw_rating(self, c: Command) -> Outcome:
        """Of a product that is no longer for sale, too."""
        if not self._stars(c):
            return NOT_FOUND
        self._put_stars(c, 0)
        return succeeded(204, f"/v1/products/{c.body['product_id']}")
