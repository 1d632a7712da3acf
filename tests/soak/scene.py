"""What troubles work on."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from stack import WORKERS, Stack
from stores import Stores
from test_store_network import URI_OF
from topics import Topics
from toxics import Proxy
from traffic import Shop
from vitals import Marks

SETTINGS = {"TW_SESSION_TIMEOUT_MS": "6000"}
PATIENCE_S = 60.0
BROKER = "broker"
T = TypeVar("T")


def domain_of(program: str) -> str:
    return program.rstrip("0123456789")


def settings_of(program: str, proxies: dict[str, Proxy]) -> dict[str, str]:
    domain = domain_of(program)
    store = {URI_OF[domain]: proxies[domain].uri} if domain in WORKERS else {}
    return {**SETTINGS, "TW_KAFKA": proxies[BROKER].uri, **store}


class Deck(Generic[T]):
    """All of them in an order by chance, then again: each comes up in a short run of that many."""

    def __init__(self, dice: random.Random, everything: Sequence[T]) -> None:
        self._dice = dice
        self._everything = everything
        self._left: list[T] = []
        self._shuffled = 0

    def draw(self) -> T:
        if not self._left:
            self._left = self._dice.sample(self._everything, len(self._everything))
            self._shuffled += 1
        return self._left.pop()

    def rest(self) -> list[T]:
        """What never came up."""
        if self._shuffled > 1:
            return []
        return [self.draw() for _ in range(len(self._left) if self._shuffled else len(self._everything))]


@dataclass
class Scene:
    """What troubles work on."""

    stack: Stack
    shop: Shop
    topics: Topics
    stores: Stores
    marks: Marks
    dice: random.Random
    workers: list[str]
    edges: list[str]
    proxies: dict[str, Proxy]  # between the workers of a domain and their store, and between the BROKER and all programs
    poisons: "Deck[str]"
    poisoned: int = 0

    def start(self, name: str, **more: str) -> None:
        self.stack.start(name, settings={**settings_of(name, self.proxies), **more}, ready=False)

    def restart(self, name: str, **more: str) -> None:
        self.stack.stop(name)
        self.start(name, **more)
