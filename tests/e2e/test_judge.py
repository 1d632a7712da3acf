"""The judge's own rules on small histories, with lies in them; and the recorder whose histories it reads. What it
compares is tested in test_compare.py, and all of it on real programs in test_mutants.py."""

import json
import multiprocessing
import os
import threading
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgpack
import pytest

import history
import judge
import tokens
from compare_logs import EDGE
from decisions import succeeded
from history import Exchange
from model import Model
from recorder import Recorder, metrics_of, sample_of
from topics import Record

NOW = 1_750_000_000_000
MEMBER = "3b241101-e2bb-8255-8caf-4136c566a962"
OTHER = "9d1c2a51-2a36-8c55-9f0e-6d6f5e0b5c11"
KEY = b"k" * 32
VIEWS = "/v1/products/12723396-92ba-8ca7-a109-14d1110ea0d1/views"


def token_of(key: bytes = KEY, **claims: Any) -> str:
    standing = {"sub": MEMBER, "jti": "t1", "exp": NOW // 1000 + 600}
    return tokens.signed({"alg": "HS256", "kid": "a"}, {**standing, **claims}, key)


def command_id(number: int, keyed: bool = False) -> str:
    return f"01a21d94-d4ee-{'8' if keyed else '7'}805-a086-{number:012}"


def accepted(*command_ids: str) -> bytes:
    return json.dumps({"command_id": command_ids[0]}).encode()


def asked(method: str = "POST", target: str = VIEWS, status: int = 202, **more: Any) -> Exchange:
    fields = {"authorization": f"Bearer {more.pop('token')}"} if "token" in more else {}
    fields |= more.pop("fields", {})
    body = json.dumps(more.pop("body")).encode() if "body" in more else b""
    return Exchange(method, target, fields, body, more.pop("sent_ms", NOW), status, **more)


def view(number: int, **more: Any) -> Exchange:
    return asked(answer=accepted(command_id(number, "key" in more)), **more)


def cart(status: int) -> Exchange:
    return asked(target="/v1/cart/items", status=status, token=token_of())


def record(number: int, ce_type: str = "product.record_view.v1", offset: int = 0, **headers: str) -> Record:
    standing = {"ce_id": command_id(number), "ce_type": ce_type, "ce_source": EDGE, **headers}
    texts = tuple((name, text.encode()) for name, text in standing.items())
    return Record(f"{ce_type.partition('.')[0]}.commands", 0, offset, NOW, b"key", msgpack.packb({}), texts)


class World:
    """A Case of what a test gives, and of nothing else."""

    def __init__(self, exchanges: list[Exchange], records: list[Record] = []) -> None:
        self.told = history.Record(exchanges=exchanges)
        self.writes = [exchange for exchange in exchanges if exchange.command_type]
        self.commands = records
        self.by_id: dict[str, list[Record]] = defaultdict(list)
        for one in records:
            self.by_id[one.command_id].append(one)
        self.model = Model(bytes(32))
        for one in records:
            self.model.outcomes[one.command_id].append(succeeded(200))
        self.events: list[Record] = []
        self.kept: dict[tuple[str, int], list[Record]] = {}
        self.environment = {"TW_JWT_ALGORITHM": "ES256"}
        self.topics: Any = SimpleNamespace(records=lambda topic: self.events)
        self.fold: Any = SimpleNamespace(good_commands=lambda: [])


# --- I1


def test_accepted_refused_and_unknown_have_the_records_they_may_have() -> None:
    world = World([view(1), asked(status=404), asked(status=0)], [record(1), record(2)])
    verdict = judge.accepted_end_once(world)  # type: ignore[arg-type]
    assert (verdict.word, verdict.compared["accepted"], verdict.compared["refused"]) == ("holds", 1, 1)


@pytest.mark.parametrize(
    ("exchange", "left"),
    [
        (cart(0), record(1, "cart.add_item.v1", tw_caller=MEMBER)),
        (cart(503), record(1, "cart.add_item.v1", tw_caller=MEMBER)),
        (asked(target="/v1/auth/login", status=401), record(1, "member.start_session.v1", tw_caller=MEMBER)),
    ],
)
def test_an_answer_that_leaves_it_open_explains_one_record(exchange: Exchange, left: Record) -> None:
    one, none = World([exchange, asked(status=404)], [left]), World([exchange, asked(status=404)])
    assert judge.accepted_end_once(one).wrong == judge.accepted_end_once(none).wrong == []  # type: ignore[arg-type]
    assert judge.accepted_end_once(World([exchange], [left, left])).wrong  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exchanges", "records", "sentence"),
    [
        ([view(1)], [], "is not in the log"),
        ([view(1)], [record(1), record(1)], "is in the log 2 times"),
        ([view(1), asked(status=404)], [record(1), record(2)], "1 records of product.record_view.v1"),
        ([asked(status=401)], [record(2)], "nobody was told of"),
        ([asked(status=0)], [record(2, "product.create.v1")], "1 records of product.create.v1"),
        ([cart(0)], [record(2, "cart.add_item.v1", tw_caller=OTHER)], f"1 records of cart.add_item.v1 by {OTHER}"),
        ([cart(401)], [record(2, "cart.add_item.v1", tw_caller=MEMBER)], "nobody was told of"),
    ],
)
def test_records_that_answers_do_not_explain_are_found(
    exchanges: list[Exchange], records: list[Record], sentence: str
) -> None:
    verdict = judge.accepted_end_once(World(exchanges, records))  # type: ignore[arg-type]
    assert any(sentence in said for said in verdict.wrong), verdict.wrong


def test_an_accepted_command_without_an_end_is_found() -> None:
    world = World([view(1)], [record(1)])
    world.model.outcomes.clear()
    assert "has no end" in judge.accepted_end_once(world).wrong[0]  # type: ignore[arg-type]


def test_an_outcome_that_was_never_published_is_found() -> None:
    accepted_one = asked(target="/v1/cart/items", answer=accepted(command_id(1)), token=token_of())
    world = World([accepted_one], [record(1, "cart.add_item.v1")])
    assert "no outcome" in judge.accepted_end_once(world).wrong[0]  # type: ignore[arg-type]


# --- I2


def event(number: int, cause: tuple[int, int], ce_type: str = "cart.item_added.v1", **body: Any) -> Record:
    texts = {"ce_id": f"{cause[0]}/{cause[1]}", "ce_type": ce_type, "tw_command_id": command_id(number),
             "tw_cause_offset": str(cause[0]), "tw_n": str(cause[1])}  # fmt: skip
    headers = tuple((name, text.encode()) for name, text in texts.items())
    return Record("cart.events", 0, cause[0], NOW, b"key", msgpack.packb(body), headers)


def one_effect_of(*events: Record, requeued: bool = False) -> judge.Verdict:
    world = World([], [])
    cause = record(1, "cart.add_item.v1", 0, **({"tw_requeue_of": "0"} if requeued else {}))
    world.kept = {("cart", 0): list(events)}
    world.topics = SimpleNamespace(
        partition=lambda topic, number: list(events) if topic == "cart.events" else [cause] * 9,
        records=lambda topic: [],
    )
    return judge.one_effect(world)  # type: ignore[arg-type]


def outcome(number: int, cause: tuple[int, int], status: str = "succeeded", **more: Any) -> Record:
    said = {"command_id": command_id(number), "status": status, "repeated": False, **more}
    return event(number, cause, "command.outcome.v1", **said)


def test_a_second_effect_of_a_command_is_found() -> None:
    assert not one_effect_of(event(1, (3, 0)), outcome(1, (3, 1)), outcome(1, (4, 0), repeated=True)).wrong
    assert "effects at" in one_effect_of(event(1, (3, 0)), event(1, (4, 0))).wrong[0]
    assert "effects at" in one_effect_of(outcome(1, (3, 0)), outcome(1, (4, 0))).wrong[0]


def test_what_refuses_a_misused_key_or_a_late_requeue_is_no_effect() -> None:
    misused = outcome(1, (4, 0), "rejected", problem_code="idempotency-key-reused")
    assert not one_effect_of(outcome(1, (3, 0)), misused).wrong
    late = outcome(1, (4, 0), "rejected", problem_code="not-found")
    assert not one_effect_of(outcome(1, (3, 0)), late, requeued=True).wrong
    assert one_effect_of(outcome(1, (3, 0)), late).wrong


# --- I3


def looks(*stored: list[int], committed: list[int] | None = None) -> Any:
    return [
        {"kind": "marks", "at": i, "stored": marks, "committed": committed or [0, 0]} for i, marks in enumerate(stored)
    ]


def test_a_watermark_that_goes_back_is_found_unless_its_store_was_restored() -> None:
    assert not judge.backwards("cart", looks([1, 5], [2, 5], [2, 6]))
    assert "went back from 5 to 4" in judge.backwards("cart", looks([1, 5], [2, 4]))[0]
    restored = [*looks([1, 5]), {"kind": "restored", "at": 1}, *looks([0, 0])]
    assert not judge.backwards("cart", restored)


def test_an_offset_ahead_of_its_store_is_found() -> None:
    assert not judge.backwards("cart", looks([1, 5], committed=[1, 5]))
    assert "Kafka had 6" in judge.backwards("cart", looks([1, 5], committed=[1, 6]))[0]


# --- I8


def keyed(number: int, quantity: int, status: int = 202, **more: Any) -> Exchange:
    answer = accepted(command_id(number)) if status == 202 else b""
    fields = {"idempotency-key": "k", **more.pop("fields", {})}
    body = {"quantity": quantity}
    return asked(
        target="/v1/cart/items", status=status, answer=answer, token=token_of(), fields=fields, body=body, **more
    )


def keys_of(*exchanges: Exchange) -> judge.Verdict:
    return judge.keys_mean_one_request(World(list(exchanges)))  # type: ignore[arg-type]


FINAL: dict[str, Any] = {"fields": {"prefer": "wait=5"}, "answer_fields": {"preference-applied": "wait=5"}}


def test_the_same_key_and_body_are_the_same_command() -> None:
    refused = asked(target="/v1/cart/items", status=422, answer=b'{"code":"idempotency-key-reused"}', token=token_of(),
                    fields={"idempotency-key": "k"}, body={"quantity": 3})  # fmt: skip
    verdict = keys_of(keyed(1, 2), keyed(1, 2, answer_fields={"idempotent-replayed": "true"}), refused)
    assert (verdict.word, verdict.compared["same body again"], verdict.compared["another body"]) == ("holds", 1, 1)
    assert "are told" in keys_of(keyed(1, 2), keyed(2, 2)).wrong[0]


def test_spaces_and_the_order_of_members_make_no_other_body() -> None:
    one, two = keyed(1, 2), keyed(1, 2)
    one.body, two.body = b'{"quantity":2,"product_id":"p"}', b'{ "product_id": "p", "quantity": 2}'
    verdict = keys_of(one, two)
    assert (verdict.wrong, verdict.compared["same body again"], verdict.compared["another body"]) == ([], 1, 0)


def test_two_bodies_with_one_key_are_not_both_answered() -> None:
    replayed: dict[str, Any] = {"answer_fields": {"idempotent-replayed": "true"}}
    wrong = keys_of(keyed(1, 2, **replayed), keyed(1, 3, **replayed)).wrong
    assert any("two bodies" in sentence for sentence in wrong)
    assert any("end with" in s for s in keys_of(keyed(1, 2, 200, **FINAL), keyed(1, 2, 404, **FINAL)).wrong)
    assert not keys_of(keyed(1, 2), keyed(1, 3)).wrong, "a race is settled by the worker"


def test_a_key_of_another_member_or_path_is_another_key() -> None:
    others = keyed(2, 2)
    others.fields = {**others.fields, "authorization": f"Bearer {token_of(sub='another')}"}
    assert keys_of(keyed(1, 2), others).compared["keys"] == 2


# --- I10


def bad_tokens_of(exchanges: list[Exchange], tmp_path: Path, events: list[Record] = []) -> judge.Verdict:
    keys = tmp_path / "keys"
    keys.write_text(f"a:{KEY.hex()}\n")
    world = World(exchanges)
    world.events = events
    world.environment = {"TW_JWT_KEYS_FILE": str(keys)}
    return judge.bad_tokens_do_nothing(world)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "token", ["nobody's", token_of(exp=NOW // 1000 - 60), token_of(b"x" * 32), token_of()[:-4] + "AAAA"]
)
def test_a_bad_token_that_was_let_in_is_found(token: str, tmp_path: Path) -> None:
    look = {"method": "GET", "target": "/v1/cart", "token": token}
    refused = bad_tokens_of([asked(status=401, **look)], tmp_path)
    assert (refused.wrong, refused.compared["with a bad token"]) == ([], 1)
    assert "with a bad token" in bad_tokens_of([asked(status=200, **look)], tmp_path).wrong[0]


def test_a_good_token_is_let_in(tmp_path: Path) -> None:
    verdict = bad_tokens_of([asked("GET", "/v1/cart", 200, token=token_of())], tmp_path)
    assert (verdict.wrong, verdict.compared["with a bad token"]) == ([], 0)


def test_a_token_that_an_edge_issued_is_good_though_its_key_has_gone(tmp_path: Path) -> None:
    token = token_of(b"x" * 32)
    login = asked(target="/v1/auth/login", status=200, answer=json.dumps({"access_token": token}).encode())
    assert bad_tokens_of([login, asked("GET", "/v1/cart", 200, token=token)], tmp_path).wrong == []
    ended = asked("GET", "/v1/cart", 200, token=token, sent_ms=NOW + 3_600_000)
    assert bad_tokens_of([login, ended], tmp_path).wrong


def test_nobody_may_ask_what_became_of_nobodys_command_but_not_for_a_cart(tmp_path: Path) -> None:
    command = f"/v1/commands/{command_id(1)}"
    assert bad_tokens_of([asked("GET", command, 200)], tmp_path).wrong == []
    assert bad_tokens_of([asked("GET", command, 200, token="nobody's")], tmp_path).wrong
    assert bad_tokens_of([asked("GET", "/v1/cart", 200)], tmp_path).wrong


@pytest.mark.parametrize(
    ("after_ms", "status", "good"),
    [(900, 200, True), (1001, 200, False), (1001, 404, False), (1001, 401, True), (1001, 503, True), (1001, 0, True)],
)
def test_a_revoked_token_that_is_taken_a_second_later_is_found(
    after_ms: int, status: int, good: bool, tmp_path: Path
) -> None:
    revoked = event(1, (0, 0), "member.tokens_revoked.v1", tokens=[{"token_id": "t1"}])
    exchange = asked("GET", "/v1/cart", status, token=token_of(), sent_ms=NOW + after_ms)
    assert (bad_tokens_of([exchange], tmp_path, [revoked]).wrong == []) == good


# --- I14


def sample(at_s: float, rest: bool = True, pid: int = 1, **more: Any) -> dict[str, Any]:
    standing = {"memory_bytes": 100 * judge.MIB, "descriptors": 50, "threads": 20, "cpu_s": 1.0, "sanitized": False}
    return {"at": at_s * 1000, "pid": pid, "rest": rest, "metrics": {}, **standing, **more}


def size_of(*samples: dict[str, Any], asked_ms: list[int] = [], program: str = "edge2") -> judge.Verdict:
    world = World([])
    world.told.samples[program].extend(samples)
    world.told.asked_ms = asked_ms
    return judge.programs_stay_small(world)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("later", "sentence"),
    [
        ({}, ""),
        ({"descriptors": 83}, "83 descriptors"),
        ({"threads": 23}, "23 threads"),
        ({"memory_bytes": 133 * judge.MIB}, "memory_bytes"),
        ({"memory_bytes": 133 * judge.MIB, "sanitized": True}, ""),
        ({"cpu_s": 1.5}, "of processor time"),
        ({"metrics": {"tillwire_edge_passwords_waiting": 1.0}}, "at rest"),
        ({"metrics": {"tillwire_edge_queue_percent": 101.0}, "rest": False}, "101 % full"),
    ],
)
def test_what_grew_spins_or_is_left_is_found(later: dict[str, Any], sentence: str) -> None:
    wrong = size_of(sample(0), sample(1, **later)).wrong
    assert (len(wrong) == 1 and sentence in wrong[0]) if sentence else not wrong


def test_only_an_edge_has_pools_that_fill() -> None:
    pair = sample(0), sample(1, descriptors=59)
    assert not size_of(*pair).wrong
    assert "cart (1) has 59 descriptors at rest" in size_of(*pair, program="cart").wrong[0]


def test_work_between_two_rests_is_no_spin_and_another_process_no_growth() -> None:
    assert not size_of(sample(0), sample(1, cpu_s=1.9), asked_ms=[500]).wrong
    assert not size_of(sample(0), sample(1), sample(2, pid=2, descriptors=99), sample(3, pid=2, descriptors=99)).wrong


def test_no_rest_is_no_success() -> None:
    verdict = size_of(sample(0), sample(1, rest=False))
    assert (verdict.word, verdict.unseen) == ("unseen", ["programs at rest"])


# --- the recorder


class Broken(httpx.BaseTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too late")


def answering(request: httpx.Request) -> httpx.Response:
    return httpx.Response(202, json={"command_id": command_id(1)}, headers={"Idempotent-Replayed": "true"})


def test_a_request_and_its_answer_are_read_back(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history")
    client = httpx.Client(base_url="http://edge", transport=recorder.transport(httpx.MockTransport(answering)))
    client.post(f"{VIEWS}?x=1", json={"password": "correct horse"}, headers={"Idempotency-Key": "k"})
    (found,) = history.read(recorder.path).exchanges
    assert (found.method, found.path, found.status, found.key) == ("POST", VIEWS, 202, "k")
    assert (found.command_ids, found.is_replayed, found.secrets) == ([command_id(1)], True, {"correct horse"})
    assert recorder.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("exchange", "secrets"),
    [
        (asked(target="/v1/members", status=201, body={"password": "correct horse"}), {"correct horse"}),
        (asked(target="/v1/members", status=0, body={"password": "correct horse"}), {"correct horse"}),
        (asked(target="/v1/members", status=422, body={"password": "password"}), set()),
        (asked(target="/v1/auth/login", status=401, body={"password": "correct horse"}), {"correct horse"}),
        (asked(target="/v1/auth/refresh", status=401, body={"refresh_token": "guessed it"}), set()),
        (asked(target="/v1/auth/refresh", status=0, body={"refresh_token": "never told"}), {"never told"}),
        (asked(status=200, answer=b'{"access_token":"eyJ.eyJ.sig"}'), {"eyJ.eyJ.sig"}),
        (asked("GET", "/v1/cart", 401, token=token_of()), set()),
        (asked("GET", "/v1/cart", 200, token=token_of()), {token_of()}),
    ],
)
def test_secrets_are_what_somebody_could_come_in_with(exchange: Exchange, secrets: set[str]) -> None:
    assert exchange.secrets == secrets


def test_a_history_is_read_on_from_line_to_line(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history")
    reader = history.Reader(recorder.path)
    number = recorder.ask("POST", VIEWS, httpx.Headers(), b"")
    assert [found.status for found in reader.read_on().exchanges] == [0]
    recorder.answer(number, 202, httpx.Headers(), b"")
    with recorder.path.open("ab") as half:
        half.write(b'{"at":1,"kind":"ask')
    assert [found.status for found in reader.read_on().exchanges] == [202]
    with recorder.path.open("ab") as half:
        half.write(b'ed"}\n')
    with pytest.raises(history.Unreadable, match="line 3 is"):
        reader.read_on()


def test_what_was_there_before_it_began_is_not_looked_at(tmp_path: Path) -> None:
    log = tmp_path / "edge.log"
    log.write_text("before")
    recorder = Recorder(tmp_path / "history")
    recorder.begin({("cart.events", 0): 1}, tmp_path)
    log.write_text("before, and now")
    topics = SimpleNamespace(partitions=lambda: [(("cart.events", 0), [event(1, (0, 0)), event(2, (1, 0))])])
    fold: Any = SimpleNamespace(topics=topics, stores=None, model=None)
    case = judge.Case({}, history.read(recorder.path), fold, tmp_path, None)
    assert [record.offset for record in case.records()] == [1]
    assert list(case.log_texts()) == [("edge.log", b", and now")]


def test_a_request_without_an_answer_is_there_and_open(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history")
    client = httpx.Client(base_url="http://edge", transport=recorder.transport(Broken()))
    with pytest.raises(httpx.ReadTimeout):
        client.post(VIEWS, content=b"\xff\x00")
    (found,) = history.read(recorder.path).exchanges
    assert (found.status, found.is_open, found.body) == (0, True, b"\xff\x00")


def write_many(path: Path, count: int) -> None:
    recorder = Recorder(path)
    for _ in range(count):
        recorder.answer(
            recorder.ask("GET", "/v1/cart", httpx.Headers(), b"x" * 9000), 200, httpx.Headers(), b"y" * 9000
        )


def test_threads_and_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "history"
    processes = [multiprocessing.Process(target=write_many, args=(path, 100)) for _ in range(2)]
    shared = Recorder(path)

    def ask() -> None:
        for _ in range(100):
            shared.answer(shared.ask("GET", "/v1/cart", httpx.Headers(), b""), 200, httpx.Headers(), b"")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    workers: list[Any] = [*processes, *threads]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = history.read(path).exchanges
    assert len(found) == 600
    assert all(exchange.status == 200 for exchange in found)


def test_a_process_is_looked_at() -> None:
    first = sample_of(os.getpid())
    with open("/dev/null", "rb"):
        second = sample_of(os.getpid())
    assert second["descriptors"] == first["descriptors"] + 1
    assert first["memory_bytes"] > judge.MIB and first["threads"] >= 1 and not first["sanitized"]


def test_metrics_are_added_up_over_their_labels() -> None:
    text = (
        'tillwire_edge_streams 3\nhttp_server_active_requests{a="b"} 1\nhttp_server_active_requests{a="c"} 2\nother 9\n'
    )
    assert metrics_of(text) == {"tillwire_edge_streams": 3.0, "http_server_active_requests": 3.0}


# --- the program


@pytest.mark.parametrize(
    "line", ["{", '{"at":1}', '{"kind":"other"}', '{"kind":"answered","n":"1","status":200}', "[]"]
)
def test_what_is_no_history_is_named_by_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text('{"at":1,"kind":"began","ends":{}}\n' + line + "\n")
    with pytest.raises(history.Unreadable, match="line 2 is none of a history"):
        history.read(path)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(["history", "--only", "I1,I4"], "there is no rule I4"), (["history"], "missing: TW_KAFKA"),
     (["history"], "--logs or TW_STATE_DIR, --programs or TW_BIN_DIR"), ([], "history")],
)
def test_wrong_usage_is_named(
    words: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("TW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sys.argv", ["judge.py", *words])
    with pytest.raises(SystemExit) as ended:
        judge.main()
    assert ended.value.code == 2 and complaint in capsys.readouterr().err


def test_what_cannot_be_judged_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TW_KAFKA", "TW_POSTGRES_URI", "TW_MONGO_URI", "TW_REDIS_URI", "TW_ID_KEY_FILE", "TW_JWT_KEYS_FILE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr("sys.argv", ["judge.py", str(tmp_path / "none"), "--logs", str(tmp_path), "--programs", "x"])
    assert judge.main() == 2
    assert "No such file" in capsys.readouterr().err


def test_the_table_says_what_was_compared_and_what_is_wrong() -> None:
    verdicts = [
        judge.Verdict("I5", {"views": 3}, ("views",)),
        judge.Verdict("I6", {"versions": 0}, ("versions",)),
        judge.Verdict("I7", {"items": 1}, ("items",), [f"sentence {i}" for i in range(7)]),
    ]
    lines = judge.table(verdicts).splitlines()
    assert lines[:3] == ["I5      holds   3 views", "I6      unseen  0 versions", "I7      BROKEN  1 items"]
    assert lines[3:] == ["I6: no case of: versions", *(f"I7: sentence {i}" for i in range(5)), "I7: and 2 more"]
    assert judge.broken(verdicts) == {"I7"}
