"""What the broker is made to do that no program of ours asks for: forgetting a log, taking one with its own times, and
keeping a group to itself."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ConsumerGroupDescription

from messages import TOPICS
from stack import Stack, wait_until
from topics import Record, patiently

NOT_YET = (
    KafkaError.NON_EMPTY_GROUP,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
NOT_THERE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND)
POLICY_GROUPS = ("tillwire-member-policy", "tillwire-cart-policy")
GROUPS = (*POLICY_GROUPS, "tillwire-member", "tillwire-product", "tillwire-cart")


def _settle(futures: dict[Any, "Future[Any]"]) -> bool:
    """False: something is not over yet, ask again."""
    for future in futures.values():
        try:
            future.result(30)
        except KafkaException as error:
            if error.args[0].code() in NOT_YET:
                return False
            if error.args[0].code() not in NOT_THERE:
                raise
    return True


def _is_at_rest(name: str, group: ConsumerGroupDescription) -> bool:
    first = name.removeprefix("tillwire-").removesuffix("-policy")
    members = [member.group_instance_id or "" for member in group.members or []]
    return group.state == ConsumerGroupState.STABLE and all(member.startswith(f"{first}-") for member in members)


class Broker:
    def __init__(self, servers: Stack) -> None:
        self._servers = servers
        self._brokers = servers.environment["TW_KAFKA"]
        self._admin = AdminClient({"bootstrap.servers": self._brokers, "log_level": 0})

    def forget_all(self) -> None:
        """As if nothing had ever been written. No program may be running."""
        _settle(self._admin.delete_topics(list(TOPICS)))
        wait_until("whoever was in a group is gone", self._forget_groups, 60, 0.5)
        wait_until("topics are gone", lambda: not set(TOPICS) & set(self._admin.list_topics(timeout=10).topics))
        self._servers.twctl("topics", "apply")

    def _forget_groups(self) -> bool:
        """Only those that are there: a broker that never had one makes a topic for them first, and takes its time."""
        known = {group.group_id for group in self._admin.list_consumer_groups(request_timeout=30).result().valid}
        there = [group for group in GROUPS if group in known]
        return not there or _settle(self._admin.delete_consumer_groups(there))

    def await_rest(self) -> None:
        """Until nobody but a first worker of each domain is in a group. One that was stopped or killed is missed for as long as
        its session; until then nobody folds its partitions, and nobody's policy looks at them."""
        wait_until("whoever is gone is out of the groups", lambda: patiently(self._is_at_rest), 60)

    def _is_at_rest(self) -> bool:
        described = self._admin.describe_consumer_groups(list(GROUPS), request_timeout=30)
        return all(_is_at_rest(name, future.result(30)) for name, future in described.items())

    @contextmanager
    def times_of_writers(self, topics: set[str]) -> Iterator[None]:
        """Records keep the time they are given; as a rule the broker puts its own."""
        self._set_timestamps(topics, "CreateTime")
        yield
        self._set_timestamps(topics, "LogAppendTime")

    @contextmanager
    def takes_nothing(self, topic: str) -> Iterator[None]:
        """Every record is too large for it."""
        self._set({topic}, "max.message.bytes", "1")
        try:
            yield
        finally:
            self._servers.twctl("topics", "apply")

    def _set_timestamps(self, topics: set[str], value: str) -> None:
        self._set(topics, "message.timestamp.type", value)

    def _set(self, topics: set[str], setting: str, value: str) -> None:
        entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        resources = [ConfigResource("TOPIC", name, incremental_configs=[entry]) for name in topics]
        _settle(self._admin.incremental_alter_configs(resources))

    def write(self, records: list[Record]) -> None:
        """As they are, each at its place."""
        failed: list[KafkaError] = []
        producer = Producer({"bootstrap.servers": self._brokers, "acks": "all", "linger.ms": 50, "log_level": 0,
                             "enable.idempotence": True, "queue.buffering.max.messages": 1_000_000})  # fmt: skip
        for record in records:
            producer.produce(
                record.topic,
                record.value,
                record.key,
                record.partition,
                lambda error, _: failed.append(error) if error else None,
                timestamp=record.timestamp_ms,
                headers=list(record.headers),
            )
            producer.poll(0)
        assert producer.flush(60) == 0 and not failed, f"the broker did not take {failed[:3]}"

    @contextmanager
    def policies_stay_out(self) -> Iterator[None]:
        """The log stays as it is: somebody who speaks another protocol is in the groups of the policies, which
        therefore cannot join. A worker folds all the same."""
        guards = [self._guard(group) for group in POLICY_GROUPS]
        try:
            yield
        finally:
            for guard in guards:
                guard.close()

    def _guard(self, group: str) -> Consumer:
        assigned: list[bool] = []
        guard = Consumer({"bootstrap.servers": self._brokers, "group.id": group, "log_level": 0,
                          "partition.assignment.strategy": "roundrobin", "max.poll.interval.ms": 3_600_000,
                          "session.timeout.ms": 45_000, "enable.auto.commit": False})  # fmt: skip
        guard.subscribe(["member.dlq"], on_assign=lambda *_: assigned.append(True))

        def is_in() -> bool:
            guard.poll(0.1)
            return bool(assigned)

        wait_until(f"the group {group} is taken", is_in, 60)
        return guard
