"""The broker comes back with another log, a shorter one or none, or topics are not those of the manifest: a worker stops and
says so in a sentence, and skips nothing. Its store is as it was, and with the right log it goes on.

This file makes topics anew, so it has its stack's log to itself: before it and behind it topics and stores are empty."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

import direct
from broker import Broker
from faults import reported
from ids import partition_of
from messages import TOPICS
from stack import Stack, wait_until
from stores import Stores
from topics import Topics

EVERYDAY = 2
BROKEN = 3  # a worker's exit code
TOPIC = "cart.commands"
COUNT = TOPICS[TOPIC]
FOLDED = 6 * COUNT  # records
DYNAMIC = {"TW_INSTANCE_ID": ""}  # its group is empty as soon as it ends


@pytest.fixture(scope="module")
def broker(servers: Stack, stores: Stores) -> Iterator[Broker]:
    broker = Broker(servers)
    broker.forget_all()
    stores.empty()
    yield broker
    broker.forget_all()
    stores.empty()


@pytest.fixture(scope="module")
def admin(servers: Stack) -> AdminClient:
    return AdminClient({"bootstrap.servers": servers.environment["TW_KAFKA"], "log_level": 0})


def add_some(topics: Topics, count: int = FOLDED) -> None:
    """To a cart each, as many to each partition."""
    products = {"product_id": str(uuid.uuid4()), "product_name": "Tea", "price": "1.00", "product_version": 1}
    strangers = [str(uuid.uuid4()) for _ in range(20 * count + 200)]
    members = [
        member
        for p in range(COUNT)
        for member in [m for m in strangers if partition_of(m.encode(), COUNT) == p][: count // COUNT]
    ]
    assert len(members) == count
    direct.write_all(
        topics, "cart.add_item.v1", [(m, {"member_id": m, "quantity": 1, **products}) for m in members]
    )


@pytest.fixture
def folded(servers: Stack, broker: Broker, stores: Stores, topics: Topics) -> Iterator[list[int]]:
    """Each partition has some records, all folded: the watermarks. Whatever the test did is gone behind it."""
    add_some(topics)
    servers.start("cart", settings=DYNAMIC)
    ends = [topics.end(TOPIC, p) for p in range(COUNT)]
    wait_until("all is folded", lambda: stores.watermarks("cart") == ends)
    yield ends
    if servers.is_running("cart"):
        servers.stop("cart")
    broker.forget_all()
    stores.empty()


def settle(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result(30)


def make_anew(admin: AdminClient, partitions: int = COUNT) -> None:
    settle(admin.delete_topics([TOPIC]))
    wait_until("the topic is gone", lambda: TOPIC not in admin.list_topics(timeout=10).topics)
    settings = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime", "max.message.bytes": "1048576"}
    wait_until("it is made anew", lambda: is_made(admin, NewTopic(TOPIC, partitions, 1, config=settings)))


def is_made(admin: AdminClient, topic: NewTopic) -> bool:
    """A broker forgets names with a delay."""
    try:
        settle(admin.create_topics([topic]))
    except Exception as error:  # pylint: disable=broad-except
        assert "exists" in str(error), error
    return TOPIC in admin.list_topics(timeout=10).topics


def must_stop(servers: Stack, stores: Stores, marks: list[int], *words: str) -> None:
    """With that sentence in its last lines, its store untouched."""
    assert servers.wait_exit("cart", 60) == BROKEN, servers.log("cart")[-2000:]
    for word in words:
        assert word in servers.log("cart"), servers.log("cart")[-2000:]
    assert stores.watermarks("cart") == marks, "nothing was skipped"


LOST = "lost tail, re-created topic or wrong cluster"


@pytest.mark.sampled
def test_a_topic_that_was_made_anew_stops_a_worker_that_starts(
    servers: Stack, admin: AdminClient, stores: Stores, folded: list[int]
) -> None:
    with reported("a topic made anew, and empty") as report:
        servers.stop("cart")
        make_anew(admin)
        servers.start("cart", settings=DYNAMIC, ready=False)
        must_stop(servers, stores, folded, "ends at 0, but the store has folded it up to", LOST)
        report.cycles = 1


@pytest.mark.sampled
def test_a_topic_that_is_made_anew_under_a_worker_stops_it(
    servers: Stack, admin: AdminClient, stores: Stores, topics: Topics, folded: list[int]
) -> None:
    with reported("a topic made anew under a worker") as report:
        make_anew(admin)
        add_some(topics, COUNT)
        must_stop(servers, stores, folded, LOST)
        report.cycles = 1


@pytest.mark.sampled
def test_another_log_that_is_longer_stops_the_worker(
    servers: Stack, admin: AdminClient, stores: Stores, topics: Topics, folded: list[int]
) -> None:
    with reported("another log, longer than the one that was folded") as report:
        servers.stop("cart")
        make_anew(admin)
        add_some(topics, 4 * FOLDED)
        assert all(topics.end(TOPIC, p) > folded[p] for p in range(COUNT))
        servers.start("cart", settings=DYNAMIC, ready=False)
        must_stop(servers, stores, folded, "is not the one that was folded", LOST)
        report.cycles = 1


@pytest.mark.sampled
def test_a_log_that_was_truncated_below_the_watermark_stops_the_worker(
    servers: Stack, admin: AdminClient, stores: Stores, topics: Topics, folded: list[int]
) -> None:
    with reported("a log truncated to its end") as report:
        servers.stop("cart")
        settle(admin.delete_records([TopicPartition(TOPIC, p, folded[p]) for p in range(COUNT)]))
        servers.start("cart", settings=DYNAMIC, ready=False)
        must_stop(servers, stores, folded, "but the store needs it from", "truncated log")
        report.cycles = 1


@pytest.mark.sampled
def test_an_emptied_store_is_not_refilled_from_half_a_log(
    servers: Stack, admin: AdminClient, stores: Stores, folded: list[int]
) -> None:
    with reported("an emptied store before a log whose beginning is gone") as report:
        servers.stop("cart")
        settle(admin.delete_records([TopicPartition(TOPIC, p, 1) for p in range(COUNT)]))
        stores.empty()
        servers.start("cart", settings=DYNAMIC, ready=False)
        must_stop(servers, stores, [0] * COUNT, "begins at 1, but the store needs it from 0", "truncated log")
        report.cycles = 1


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda admin: settle(admin.delete_topics([TOPIC])), f"'{TOPIC}'"),
        (lambda admin: make_anew(admin, COUNT - 1), f"'{TOPIC}' has {COUNT - 1} partitions, the manifest says {COUNT}"),
        (
            lambda admin: settle(admin.create_partitions([NewPartitions(TOPIC, COUNT + 1)])),
            f"'{TOPIC}' has {COUNT + 1} partitions, the manifest says {COUNT}",
        ),
    ],
    ids=["missing", "fewer", "more"],
)
def test_topics_that_are_not_those_of_the_manifest_are_named(
    servers: Stack,
    admin: AdminClient,
    stores: Stores,
    folded: list[int],
    change: Callable[[AdminClient], None],
    sentence: str,
) -> None:
    with reported("topics that are not the manifest's") as report:
        servers.stop("cart")
        change(admin)
        servers.start("cart", settings=DYNAMIC, ready=False)
        must_stop(servers, stores, folded, "topics differ from the manifest", sentence)
        report.cycles = 1


@pytest.mark.sampled
def test_partitions_that_are_added_under_a_worker_are_found_by_the_next_one(
    servers: Stack, admin: AdminClient, stores: Stores, folded: list[int]
) -> None:
    with reported("partitions added under a worker") as report:
        settle(admin.create_partitions([NewPartitions(TOPIC, COUNT + 1)]))
        servers.stop("cart")
        servers.start("cart", settings=DYNAMIC, ready=False)
        must_stop(servers, stores, folded, f"'{TOPIC}' has")
        report.cycles = 1


def owns_nothing(servers: Stack) -> bool:
    return "tillwire_partitions 0" in servers.admin("cart", "/metrics").text.splitlines()


@pytest.mark.sampled
def test_a_worker_whose_topics_are_deleted_still_ends_when_it_is_told_to(
    servers: Stack, admin: AdminClient, stores: Stores, folded: list[int]
) -> None:
    with reported("topics deleted under a worker") as report:
        attentive = f"{servers.environment['TW_KAFKA']}?topic.metadata.refresh.interval.ms=500"
        servers.stop("cart")
        servers.start("cart", settings={**DYNAMIC, "TW_KAFKA": attentive})
        settle(admin.delete_topics(list(TOPICS)))
        wait_until("it knows", lambda: owns_nothing(servers), 60)
        servers.stop("cart")
        assert stores.watermarks("cart") == folded
        report.cycles = 1
