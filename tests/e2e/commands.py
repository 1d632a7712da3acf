"""Commands of any type, straight into their logs, as those who are in a shop may send them now: what recorded_log.py makes
up, made up on the log there is."""

import time
from dataclasses import dataclass

import direct
from fold import Fold
from recorded_log import Author, Plan
from topics import Topics

AT_ONCE = 6  # several partitions, and more than one write in a batch
MEMBERS, PRODUCTS = 40, 12


@dataclass
class Commands:
    """By what the shop is like when they are asked for."""

    topics: Topics
    fold: Fold
    author: Author

    def send(self, ce_type: str, count: int = AT_ONCE) -> None:
        self.author.now_ms = time.time_ns() // 1_000_000
        direct.write_all(self.topics, ce_type, [self.author.one_of(ce_type) for _ in range(count)])

    def settle(self) -> None:
        """What is asked for next rests on what is there now."""
        self.fold.drained()

    def fill_shop(self) -> None:
        """There are members with sessions and addresses, products, and carts that hold them."""
        first = (("member.register.v1", 60), ("member.register_service.v1", 8), ("product.create.v1", 30))
        for ce_type, count in first:
            self.send(ce_type, count)
        self.settle()
        for ce_type in ("member.add_address.v1", "member.start_session.v1", "member.issue_token.v1", "product.rate.v1"):
            self.send(ce_type, 40)
        self.send("cart.add_item.v1", 60)
        self.settle()


def commands_of(topics: Topics, fold: Fold, id_key: bytes, seed: int) -> Commands:
    """Of a shop that nobody had before: after some thousand commands of one type, nothing more comes of most others."""
    fold.read_on()
    shop = f"{len(fold.model.state.members)}-"  # each has members of its own
    author = Author(Plan(seed, 0, 0, {}, MEMBERS, PRODUCTS, shop), id_key)
    author.model = fold.model
    return Commands(topics, fold, author)
