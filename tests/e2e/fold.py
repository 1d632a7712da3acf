"""The command log of a stack, folded by the model as far as it is read; and waiting until the workers are as far, too."""

import time
from collections.abc import Iterable

import ids
from compare_logs import Sentences, lines_behind_their_products, policy_follows_from_events
from letters import DROP_TYPE, number_in
from model import Model, Partition
from stores import Stores
from topics import Record, Topics


class Fold:
    """Reads and folds only what is new since it was last asked, so it can be asked often."""

    def __init__(self, topics: Topics, stores: Stores, id_key: bytes) -> None:
        self.topics = topics
        self.stores = stores
        self.id_key = id_key
        self.model = Model(id_key)

    def read_on(self) -> None:
        self.topics.read()
        self.model.feed(self.topics)

    def drained(self, timeout_s: float = 60) -> None:
        """Waits until every command is folded, its events are published and no policy has anything more to say."""
        left = self.left_after(timeout_s)
        assert not left, f"not drained within {timeout_s:.0f} s: {'; '.join(left)}"

    def left_after(self, patience_s: float) -> Sentences:
        """What is still to come then; it returns as soon as there is nothing."""
        deadline = time.monotonic() + patience_s
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def left(self) -> Sentences:
        """What is still to come."""
        left = [
            f"{domain} {p} is at {mark} of {end}"
            for domain in ids.DOMAINS
            for p, mark in enumerate(self.stores.watermarks(domain))
            for end in [self.topics.end(f"{domain}.commands", p)]
            if mark < end
        ]
        if left:
            return left
        self.read_on()
        return self._left_to_policies() + self._left_to_publish()

    def _left_to_policies(self) -> Sentences:
        events, commands = self.topics.records("member.events"), self.topics.records("member.commands")
        changing = [f"member {member_id} is still changing their e-mail" for member_id in self.model.state.email_changes]
        return policy_follows_from_events(events, commands) + lines_behind_their_products(self.model.state)[:3] + changing

    def _left_to_publish(self) -> Sentences:
        left: Sentences = []
        for (domain, p), partition in self.model.partitions.items():
            reached = max((event.cause for event in self.topics.partition(f"{domain}.events", p)), default=(-1, -1))
            last = _last_event(partition)
            if reached < last:
                left.append(f"{domain}.events {p} is at {reached}, to come is {last}")
            letters = self.topics.partition(f"{domain}.dlq", p)
            missing = partition.dead.keys() - {number_in(letter, "tw_dlq_offset", -1) for letter in letters}
            if missing:
                left.append(f"{domain}.dlq {p} lacks {sorted(missing)}")
            untold = partition.letters.settlements.keys() - {number_in(r, "tw_dlq_settles", -1) for r in letters}
            if untold:
                left.append(f"{domain}.dlq {p} does not tell that {sorted(untold)} are settled")
        return left

    def good_commands(self) -> Iterable[Record]:
        """But for dead letters, which say anything, and operators' drops, which say nothing more."""
        for (domain, p), partition in self.model.partitions.items():
            for record in self.topics.partition(f"{domain}.commands", p):
                if record.offset not in partition.dead and record.type != DROP_TYPE:
                    yield record


def _last_event(partition: Partition) -> tuple[int, int]:
    """Where the last one stands, or should."""
    plain = [(event.cause_offset, event.n) for event in partition.events[-1:]]
    return max(plain + ([max(partition.views)] if partition.views else []), default=(-1, -1))
