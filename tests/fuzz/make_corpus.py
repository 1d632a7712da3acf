#!/usr/bin/env python3
"""make_corpus.py SOURCE OPENAPI OUT: inputs for the fuzzers, made of what the repository has anyhow: golden messages,
recorded logs, the examples of the schemas. OUT gets a folder a fuzzer; the build runs it."""

import json
import struct
import sys
from pathlib import Path

RS, US, GS = b"\x1e", b"\x1f", b"\x1d"
RECORDS_IN_A_TURN = 10
AGGREGATES = 5  # of each log and domain


# --- golden messages --------------------------------------------------------------------------------------------------


def message_inputs(golden: Path):
    for path in sorted(golden.glob("*.msgpack.hex")):
        name = path.name.removesuffix(".msgpack.hex")
        yield name, name.encode() + b"\n" + bytes.fromhex(path.read_text())


# --- recorded logs ----------------------------------------------------------------------------------------------------


def read_record(text: str) -> dict:
    record = {"headers": [], "key": b"", "value": b""}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "record":
            topic, partition, time_ms = rest.split()
            record.update(domain=topic.split(".")[0], partition=int(partition), time_ms=int(time_ms))
        elif word == "header":
            name, _, value = rest.partition(" ")
            record["headers"].append((name, value))
        else:
            record[word] = bytes.fromhex(rest)
    return record


def read_logs(folder: Path) -> dict:
    """Name of a log -> its records."""
    return {path.stem: [read_record(part) for part in path.read_text().split("\n\n") if part.startswith("record")]
            for path in sorted(folder.glob("*.txt"))}


def envelope_input(record: dict) -> bytes:
    headers = RS.join(name.encode() + US + value.encode() for name, value in record["headers"])
    return headers + GS + record["key"] + GS + record["value"]


def outbox_bytes(run: bytes) -> bytes:
    return struct.pack("<q", len(run)) + run


def outbox_input(record: dict) -> bytes:
    """What a record might have given: an event, a dead letter that was it, and the end of that."""
    headers = dict(record["headers"])
    event = b"\x01" + struct.pack("<qqq", 7, 0, record["time_ms"])
    for run in (headers["ce_type"].encode(), bytes.fromhex(headers["ce_id"].replace("-", "")), b"", record["key"],
                record["value"]):
        event += outbox_bytes(run)
    letter = b"\x02" + struct.pack("<qq", 8, record["time_ms"])
    for run in (b"undecodable", b"it ends too early", b"tillwire-cart 0.1.0"):
        letter += outbox_bytes(run)
    letter += struct.pack("<qqqq", 8, 1, record["time_ms"], record["time_ms"])
    letter += outbox_bytes(record["key"]) + outbox_bytes(record["value"])
    letter += struct.pack("<q", len(record["headers"]))
    for name, value in record["headers"]:
        letter += outbox_bytes(name.encode()) + outbox_bytes(value.encode())
    settlement = b"\x03" + struct.pack("<qq", 9, 8) + outbox_bytes(b"succeeded") + struct.pack("<q", record["time_ms"])
    return event + letter + settlement + b"".join(outbox_bytes(run) for run in (b"ada", b"", record["key"]))


def turn_record(record: dict, before_ms: int) -> bytes:
    headers = dict(record["headers"])
    name = headers["ce_type"].encode()
    fingerprint = int(headers.get("tw_fingerprint", "00")[:2], 16)
    return (bytes([len(name)]) + name + bytes.fromhex(headers["ce_id"].replace("-", "")) +
            struct.pack(">iBBH", max(-2**31, min(2**31 - 1, record["time_ms"] - before_ms)), 0, fingerprint,
                        len(record["value"])) + record["value"])


def turn_input(records: list) -> bytes:
    number = {"member": b"1", "product": b"2", "cart": b"3"}[records[0]["domain"]]
    times = [records[0]["time_ms"]] + [record["time_ms"] for record in records]
    return number + b"4" + b"".join(turn_record(record, before) for record, before in zip(records, times))


def turn_inputs(logs: dict):
    """A few aggregates of each domain, those with most kinds of commands first."""
    for name, records in logs.items():
        for domain in ("member", "product", "cart"):
            histories: dict = {}
            for record in records:
                if record["domain"] == domain and len(record["value"]) < 1500:
                    histories.setdefault(record["key"], []).append(record)
            richest = sorted(histories.values(), key=lambda history: (-len(
                {dict(record["headers"])["ce_type"] for record in history[:RECORDS_IN_A_TURN]}), history[0]["key"]))
            for number, history in enumerate(richest[:AGGREGATES]):
                yield f"{name}-{domain}-{number}", turn_input(history[:RECORDS_IN_A_TURN])


# --- requests ---------------------------------------------------------------------------------------------------------


def fields_of(operation: dict, parameters: dict) -> list:
    fields = []
    for parameter in operation.get("parameters", []):
        parameter = parameters[parameter["$ref"].rsplit("/", 1)[1]] if "$ref" in parameter else parameter
        if parameter["in"] == "header" and parameter["name"] != "Authorization":
            fields.append((parameter["name"], example_of(parameter)))
    return fields


def example_of(parameter: dict) -> str:
    schema = parameter.get("schema", {})
    for value in (parameter.get("example"), schema.get("example"), *schema.get("examples", []),
                  *schema.get("enum", []), schema.get("default")):
        if value is not None:
            return str(value)
    return {"integer": "1", "boolean": "true"}.get(schema.get("type"), "0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b")


PRODUCT_ID = "3c79cd84-5b52-8ca7-a109-5f4d4342bfd6"  # as it follows from a SKU


def target_of(path: str, operation: dict, parameters: dict) -> str:
    query = []
    for parameter in operation.get("parameters", []):
        parameter = parameters[parameter["$ref"].rsplit("/", 1)[1]] if "$ref" in parameter else parameter
        if parameter["in"] == "path":
            value = PRODUCT_ID if parameter["name"] == "product_id" else example_of(parameter)
            path = path.replace("{%s}" % parameter["name"], value)
        elif parameter["in"] == "query":
            query.append(f"{parameter['name']}={example_of(parameter)}".replace(" ", "+"))
    return path + ("?" + "&".join(query) if query else "")


def request_input(method: str, path: str, operation: dict, parameters: dict, more: list) -> bytes:
    lines = [f"{method.upper()} {target_of(path, operation, parameters)} HTTP/1.1", "Host: shop.example"]
    lines += [f"{name}: {value}" for name, value in more]
    body = b""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        body = json.dumps(content["example"]).encode()
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        break
    return "\r\n".join(lines + ["", ""]).encode() + body


def request_inputs(openapi: dict):
    """Each operation bare, and with every field it takes."""
    parameters = openapi["components"]["parameters"]
    for path, item in openapi["paths"].items():
        for method, operation in item.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            name = operation["operationId"]
            yield name, request_input(method, path, operation, parameters, [])
            yield f"{name}-fields", request_input(method, path, operation, parameters, fields_of(operation, parameters))


# --- all --------------------------------------------------------------------------------------------------------------


def write(folder: Path, inputs) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in inputs:
        (folder / name).write_bytes(content)


def main() -> None:
    source, openapi, out = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    logs = read_logs(source / "tests/data/logs")
    of_each_type = {dict(record["headers"])["ce_type"]: record for records in logs.values() for record in records}
    write(out / "message", message_inputs(source / "tests/data/golden"))
    write(out / "envelope", ((name, envelope_input(record)) for name, record in of_each_type.items()))
    write(out / "outbox", ((name, outbox_input(record)) for name, record in of_each_type.items()
                           if len(record["value"]) < 1000))
    write(out / "turn", turn_inputs(logs))
    write(out / "request", request_inputs(openapi))
    write(out / "route", request_inputs(openapi))


main()
