"""What each command means, written a second time in plain Python: a state in, an outcome and events out. A domain a
file: member_rules.py, product_rules.py, cart_rules.py."""

from cart_rules import CartRules
from decisions import Command, Outcome
from member_rules import MemberRules
from product_rules import ProductRules


class State(MemberRules, ProductRules, CartRules):
    """All three stores."""

    def decide(self, command_type: str, c: Command) -> Outcome:
        """`command_type`: cart.add_item is cart_add_item() here."""
        outcome: Outcome = getattr(self, command_type.replace(".", "_"))(c)
        return outcome

    def version(self, domain: str, key: str, clock_ms: int) -> int:
        """What If-Match compares: the version of the aggregate with that id."""
        if domain == "cart":
            cart = self.live_cart(key, clock_ms)
            return cart.version if cart else 0
        known = self.products.get(key) if domain == "product" else self.members.get(key)
        return int(known["version"]) if known else 0
