#!/usr/bin/env python3
"""The generator: what it writes, what it refuses, and that its messages read as a stranger expects.

Runs with `python3 -m unittest` or pytest, standard library only.
"""

import base64
import contextlib
import hashlib
import io
import json
import re
import shutil
import struct
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "schemas"
GOLDEN = ROOT / "tests" / "data" / "golden"
sys.dont_write_bytecode = True
sys.path.insert(0, str(SCHEMAS))

import generate  # noqa: E402
from generator import examples, markdown, openapi, page, release  # noqa: E402
from generator.model import SchemaError, load  # noqa: E402


# --- a second msgpack reader, so that our bytes are not only read by ourselves ---------------------------------------


class Msgpack:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        piece = self.data[self.at:self.at + count]
        if len(piece) != count:
            raise ValueError("too short")
        self.at += count
        return piece

    def number(self, format_: str) -> int:
        return struct.unpack(">" + format_, self.take(struct.calcsize(format_)))[0]

    def pairs(self, count: int) -> dict:
        result = {}
        for _ in range(count):
            name = self.value()
            if name in result:
                raise ValueError(f"{name} twice")
            result[name] = self.value()
        return result

    def value(self):
        head = self.number("B")
        if head < 0x80:
            return head
        if head < 0x90:
            return self.pairs(head & 15)
        if head < 0xA0:
            return [self.value() for _ in range(head & 15)]
        if head < 0xC0:
            return self.take(head & 31).decode("utf-8")
        if head >= 0xE0:
            return head - 256
        return self.wide(head)

    def wide(self, head: int):
        fixed = {0xC0: None, 0xC2: False, 0xC3: True}
        if head in fixed:
            return fixed[head]
        numbers = dict(zip(range(0xCA, 0xD4), "f d B H I Q b h i q".split()))
        if head in numbers:
            return self.number(numbers[head])
        if head in (0xC4, 0xC5, 0xC6):
            return self.take(self.number("BHI"[head - 0xC4]))
        if head in (0xD9, 0xDA, 0xDB):
            return self.take(self.number("BHI"[head - 0xD9])).decode("utf-8")
        if head in (0xDC, 0xDD):
            return [self.value() for _ in range(self.number("HI"[head - 0xDC]))]
        if head in (0xDE, 0xDF):
            return self.pairs(self.number("HI"[head - 0xDE]))
        raise ValueError(f"head {head:#x}")


def unpackb(data: bytes):
    reader = Msgpack(data)
    value = reader.value()
    if reader.at != len(data):
        raise ValueError("bytes follow")
    return value


PYTHON_TYPES = {"uuid": str, "string": str, "bytes": bytes, "int": int, "bool": bool, "money": str, "hundredths": str,
                "time": int, "enum": str, "list": list, "map": dict}


class GoldenMessages(unittest.TestCase):
    def test_a_stranger_reads_them(self):
        for message in load(SCHEMAS).messages:
            if message.kind not in ("command", "event"):
                continue
            path = GOLDEN / f"{message.ce_type}.msgpack.hex"
            value = unpackb(bytes.fromhex(path.read_text()))
            known = {f.name: f for f in message.struct.fields}
            self.assertEqual(set(value) - set(known), set(), path.name)
            for name, member in value.items():
                self.assertIs(type(member), PYTHON_TYPES[known[name].type], f"{path.name}: {name}")
                if known[name].type == "money":
                    self.assertRegex(member, r"^\d+\.\d\d$")

    def test_no_event_carries_personal_data(self):
        private = re.compile(r"email|password|hash|full_name|phone|address_line")
        for message in load(SCHEMAS).of("event"):
            structs = [message.struct, *message.structs.values()]
            names = {field.name for each in structs for field in each.fields if private.search(field.name)}
            self.assertEqual(names, set(), message.ce_type)


# --- what is written -------------------------------------------------------------------------------------------------


class Output(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = generate.outputs(load(SCHEMAS))

    def test_is_the_same_each_time(self):
        self.assertEqual(self.files, generate.outputs(load(SCHEMAS)))

    def test_rewrites_only_what_changed(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(generate.write_changed(Path(folder), self.files), len(self.files))
            self.assertEqual(generate.write_changed(Path(folder), self.files), 0)
            (Path(folder) / "docs/messages.md").write_text("x")
            self.assertEqual(generate.write_changed(Path(folder), self.files), 1)

    def test_units_are_in_member_names(self):
        header = self.files["tillwire/gen/cart_messages.h"]
        for line in ("int64_t price_minor;", "int64_t ends_at_ms;", "struct tw_cart_line *lines;", "uint32_t lines_cap;",
                     "bool has_previous_price;", "extern const struct tw_type tw_cart_add_item_type;"):
            self.assertIn(line, header)

    def test_a_body_only_member_is_not_in_the_command(self):
        command = self.files["tillwire/gen/member_messages.h"].split("struct tw_member_register {")[1].split("};")[0]
        body = self.files["tillwire/gen/bodies.h"].split("struct tw_member_register_body {")[1].split("};")[0]
        self.assertNotIn("struct tw_str password;", command)
        self.assertIn("struct tw_str password_hash;", command)
        self.assertIn("struct tw_str password;", body)
        self.assertNotIn("password_hash", body)

    def test_a_body_says_which_member_was_null(self):
        header = self.files["tillwire/gen/member_messages.h"]
        command = header.split("struct tw_member_change_profile {")[1].split("};")[0]
        bodies = self.files["tillwire/gen/bodies.h"]
        body = bodies.split("struct tw_member_change_profile_body {")[1].split("};")[0]
        self.assertEqual(command.count("bool clear_phone_number;"), 1)
        self.assertEqual(body.count("bool clear_phone_number;"), 1)
        self.assertNotIn("clear_full_name", body)
        rows = re.findall(r"\.null_offset = offsetof\((.+?)\)", self.files["tillwire/gen/bodies.c"])
        names_of_maps = re.findall(r"/\*\*< names that were null \*/", bodies)
        self.assertEqual(len(rows), len(re.findall(r"bool clear_\w+;", bodies)) + len(names_of_maps))
        self.assertIn("struct tw_member_change_profile_body, clear_phone_number", rows)

    def test_topics_of_a_domain_have_equal_partitions(self):
        counts = re.findall(r'{"(\w+)\.\w+", TW_DOMAIN_\w+, TW_TOPIC_\w+, (\d+),', self.files["tillwire/gen/topics.c"])
        self.assertEqual(len(counts), 9)
        self.assertEqual(len(set(counts)), 3)

    def test_a_bench_may_have_another_number_of_partitions(self):
        topics = generate.outputs(generate.with_partitions(load(SCHEMAS), 3))["tillwire/gen/topics.c"]
        self.assertEqual(set(re.findall(r"TW_TOPIC_\w+, (\d+),", topics)), {"3"})
        with self.assertRaisesRegex(SchemaError, "1 to 1024"):
            generate.with_partitions(load(SCHEMAS), 1025)


def references(node) -> set:
    """Every $ref below @p node."""
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*(references(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(references(child) for child in node))
    return set()


def lookup(document, pointer: str):
    for part in pointer[2:].split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


class Documents(unittest.TestCase):
    def setUp(self):
        self.model = load(SCHEMAS)
        files = generate.outputs(self.model)
        self.openapi = json.loads(files["docs/openapi.json"])
        self.asyncapi = json.loads(files["docs/asyncapi.json"])
        self.code = files["tillwire/gen/documents.c"]

    def test_every_reference_leads_somewhere(self):
        for document in (self.openapi, self.asyncapi):
            for reference in references(document):
                lookup(document, reference)

    def test_asyncapi_has_every_topic_and_message(self):
        self.assertEqual(self.asyncapi["asyncapi"], "3.0.0")
        self.assertEqual(len(self.asyncapi["channels"]), 9)
        named = {m.ce_type for m in self.model.messages if m.kind in ("command", "event")}
        self.assertEqual(set(self.asyncapi["components"]["messages"]) - {"dead-letter", "settlement"}, named)
        for domain in ("member", "product", "cart"):
            self.assertIn("command.outcome.v1", self.asyncapi["channels"][f"{domain}.events"]["messages"])

    def test_openapi_has_every_route_with_answers(self):
        self.assertEqual(self.openapi["openapi"], "3.1.0")
        operations = [o for path in self.openapi["paths"].values() for o in path.values()]
        self.assertEqual(len(operations), len(self.model.http["routes"]))
        self.assertEqual(len({o["operationId"] for o in operations}), len(operations))
        for operation in operations:
            self.assertTrue(any(status.startswith("2") for status in operation["responses"]))

    def test_the_password_has_a_range_and_unknown_members_are_refused(self):
        body = self.openapi["components"]["schemas"]["member_register_body"]
        self.assertEqual(body["properties"]["password"]["maxLength"], 128)
        self.assertIs(body["additionalProperties"], False)
        self.assertNotIn("phone_number", body["required"])

    def test_null_is_allowed_where_it_clears_and_nowhere_else(self):
        body = self.openapi["components"]["schemas"]["member_change_profile_body"]["properties"]
        self.assertEqual(set(body), {"full_name", "phone_number"})
        self.assertEqual(body["phone_number"]["type"], ["string", "null"])
        self.assertEqual(body["full_name"]["type"], "string")
        command = self.asyncapi["components"]["schemas"]["member.change_profile.v1"]
        self.assertEqual(command["properties"]["phone_number"]["type"], "string")
        self.assertIn("clear_phone_number", command["required"])

    def test_elements_of_a_list_are_described(self):
        event = self.asyncapi["components"]["schemas"]["member.tokens_revoked.v1"]
        tokens = event["properties"]["tokens"]
        self.assertEqual((tokens["type"], tokens["maxItems"]), ("array", 400))
        self.assertEqual(set(tokens["items"]["required"]), {"token_id", "expires_at"})
        self.assertEqual(tokens["items"]["properties"]["token_id"]["format"], "uuid")
        self.assertEqual(tokens["items"]["properties"]["expires_at"]["type"], "integer")

    def test_an_outcome_may_name_the_record_of_its_command(self):
        event = self.asyncapi["components"]["schemas"]["command.outcome.v1"]
        self.assertEqual(event["properties"]["record_offset"]["minimum"], 0)
        self.assertNotIn("record_offset", event["required"])
        self.assertEqual(event["properties"]["status"]["enum"], ["succeeded", "rejected", "dead_lettered"])

    def test_openapi_tells_pages_patches_and_conditions(self):
        listing = self.openapi["paths"]["/v1/members"]["get"]
        queries = [lookup(self.openapi, p["$ref"]) for p in listing["parameters"]]
        self.assertEqual([(p["name"], p["in"], p["required"]) for p in queries],
                         [("Prefer", "header", False)]
                         + [(name, "query", False) for name in ("status", "email", "limit", "cursor")]
                         + [("Consistency-Token", "header", False), ("traceparent", "header", False)])
        patch = self.openapi["paths"]["/v1/members/me"]["patch"]
        self.assertEqual(set(patch["requestBody"]["content"]), {"application/json", "application/merge-patch+json"})
        self.assertIn("#/components/parameters/IfMatch", [p["$ref"] for p in patch["parameters"]])
        self.assertIn("412", patch["responses"])
        post = self.openapi["paths"]["/v1/members"]["post"]
        self.assertEqual(set(post["requestBody"]["content"]), {"application/json"})
        self.assertNotIn("412", post["responses"])
        add = self.openapi["paths"]["/v1/cart/items"]["post"]
        self.assertIn("412", add["responses"])

    def test_openapi_tells_what_is_read_with_and_without_a_token(self):
        for path in ("/v1/products", "/v1/products/{product_id}"):
            get = self.openapi["paths"][path]["get"]
            self.assertEqual(get["security"], [{}, {"bearer": []}])
            self.assertIn("401", get["responses"])
        self.assertEqual(self.openapi["paths"]["/v1/tags"]["get"]["security"], [])

    def test_openapi_tells_that_a_batch_can_be_sent_again(self):
        batch = self.openapi["paths"]["/v1/products:batch"]["post"]
        self.assertIn("#/components/parameters/IdempotencyKey", [p["$ref"] for p in batch["parameters"]])

    def test_openapi_tells_header_fields_and_which_of_them_must_be_there(self):
        accepted = lookup(self.openapi, self.openapi["paths"]["/v1/cart/items"]["post"]["responses"]["202"]["$ref"])
        must = {name for name, h in accepted["headers"].items() if lookup(self.openapi, h["$ref"]).get("required")}
        self.assertEqual(must, {"Location", "Retry-After", "Consistency-Token"})
        self.assertIn("Idempotent-Replayed", accepted["headers"])
        self.assertIn("Link", self.openapi["paths"]["/v1/products"]["get"]["responses"]["200"]["headers"])
        limited = self.openapi["components"]["responses"]["TooManyRequests"]["headers"]
        self.assertEqual(set(limited), {"Retry-After", "RateLimit", "RateLimit-Policy"})

    def test_openapi_tells_the_codes_of_every_problem(self):
        conflict = self.openapi["paths"]["/v1/members/me/email"]["post"]["responses"]["409"]
        codes = conflict["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]
        self.assertEqual(set(codes), {"email-taken", "superseded", "stale-credentials", "member-not-active"})
        self.assertEqual(self.openapi["x-problems"]["email-taken"]["status"], 409)
        told = json.dumps([self.openapi["paths"], self.openapi["components"]["responses"]])
        self.assertEqual(set(self.openapi["x-problems"]) - set(re.findall(r'"([a-z-]+)"', told)), set(), "some have no use")

    def test_a_body_has_an_example_that_a_client_could_send(self):
        media = self.openapi["paths"]["/v1/cart/items"]["post"]["requestBody"]["content"]["application/json"]
        self.assertEqual(set(media["example"]), {"product_id", "quantity"})

    def test_asyncapi_tells_the_rule_for_every_reader(self):
        for domain in ("member", "product", "cart"):
            channel = self.asyncapi["channels"][f"{domain}.events"]
            self.assertEqual(channel["x-position"]["headers"], ["tw_cause_offset", "tw_n"])
            self.assertNotIn("x-position", self.asyncapi["channels"][f"{domain}.commands"])
        headers = self.asyncapi["components"]["schemas"]["EventHeaders"]
        self.assertLessEqual({"tw_cause_offset", "tw_n", "ce_id", "ce_type"}, set(headers["required"]))

    def test_the_page_is_whole_and_its_policy_names_what_is_in_it(self):
        html = generate.outputs(self.model)["docs/docs.html"]
        for path in self.openapi["paths"].values():
            for operation in path.values():
                self.assertIn(f'id="{operation["operationId"]}"', html)
        for tag, directive in (("style", "style-src"), ("script", "script-src")):
            (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            self.assertIn(f"{directive} 'sha256-{digest}'", page.policy())
        self.assertNotRegex(html, r"<[^>]+ (style|on[a-z]+)=")

    def test_the_embedded_text_is_the_document(self):
        body = self.code.split("static const char openapi_json[] =\n")[1].split(";\n")[0]
        literals = re.findall(r'^ +"(.*)"$', body, re.MULTILINE)
        raw = re.sub(rb'\\([0-7]{3}|["\\])', lambda m: bytes([int(m[1], 8)]) if len(m[1]) == 3 else m[1],
                     "".join(literals).encode())
        self.assertEqual(json.loads(raw), self.openapi)


class Pages(unittest.TestCase):
    def test_text_of_a_schema_is_never_html(self):
        self.assertEqual(markdown.inline("a <b> & `<i>`"), "a &lt;b&gt; &amp; <code>&lt;i&gt;</code>")

    def test_markdown_has_paragraphs_lists_headings_code_and_links(self):
        text = "## A title\n\nOne **bold** and `code`, a [link](/x).\n\n- first\n- second `x`\n\n    raw <code>\n"
        self.assertEqual(markdown.to_html(text).split("\n"), [
            '<h2 id="guide-a-title">A title</h2>',
            '<p>One <strong>bold</strong> and <code>code</code>, a <a href="/x">link</a>.</p>',
            "<ul><li>first</li><li>second <code>x</code></li></ul>",
            '<pre tabindex="0"><code>raw &lt;code&gt;</code></pre>'])
        self.assertEqual(markdown.headings(text), [("guide-a-title", "A title")])

    def test_an_example_is_put_together_from_its_parts(self):
        schemas = {"M": {"type": "string", "examples": ["1.00"]}}
        schema = {"type": "object", "properties": {
            "m": {"$ref": "#/components/schemas/M"}, "l": {"type": "array", "items": {"type": "integer", "minimum": 3}},
            "n": {"oneOf": [{"$ref": "#/components/schemas/M"}, {"type": "null"}]}, "c": {"const": "x"},
            "e": {"enum": ["a", "b"]}, "t": {"type": ["boolean", "null"]}}}
        self.assertEqual(examples.example_of(schema, schemas),
                         {"m": "1.00", "l": [3], "n": "1.00", "c": "x", "e": "a", "t": True})


# --- what is refused -------------------------------------------------------------------------------------------------


class Copy(unittest.TestCase):
    """Works on a copy of schemas/ that each test spoils in its own way."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.schemas = self.folder / "schemas"
        shutil.copytree(SCHEMAS, self.schemas, ignore=shutil.ignore_patterns("*.py", "sql", "mongo", "redis"))
        (self.schemas / "released.json").write_text("{}")

    def tearDown(self):
        shutil.rmtree(self.folder)

    def change(self, name: str, edit) -> None:
        path = self.schemas / name
        value = json.loads(path.read_text())
        edit(value)
        path.write_text(json.dumps(value))

    def refusal(self) -> str:
        with self.assertRaises(SchemaError) as caught:
            load(self.schemas)
        return str(caught.exception)


ADD = "commands/cart.add_item.v1.json"


def field(message: dict, name: str) -> dict:
    return next(f for f in message["fields"] if f["name"] == name)


class Refusals(Copy):
    def http_refusal(self, edit) -> str:
        self.change("http.json", lambda http: edit(next(r for r in http["routes"] if r["operation"] == "createProduct")))
        with self.assertRaises(SchemaError) as caught:
            openapi.openapi(load(self.schemas))
        return str(caught.exception)

    def test_a_route_with_a_problem_nobody_knows(self):
        refusal = self.http_refusal(lambda r: r.update(problems={"409": ["sku-odd"]}))
        self.assertIn("/v1/products: unknown problem 'sku-odd'", refusal)

    def test_a_route_with_a_problem_of_another_status(self):
        refusal = self.http_refusal(lambda r: r.update(problems={"404": ["sku-taken"]}))
        self.assertIn("'sku-taken' has status 409, not 404", refusal)

    def test_a_route_with_a_tag_that_is_not_described(self):
        self.assertIn("unknown tag 'odd'", self.http_refusal(lambda r: r.update(tag="odd")))

    def test_one_sentence_each(self):
        cases = [
            (lambda m: field(m, "quantity").update(type="float"), "field 'quantity': unknown type 'float'"),
            (lambda m: m["fields"].append(field(m, "quantity")), "field 'quantity' is there twice"),
            (lambda m: m.pop("since"), "'since' is missing"),
            (lambda m: m.update(since="soon"), "'since' must be a version"),
            (lambda m: m.update(key="cart_id"), "key 'cart_id' is not a field"),
            (lambda m: m.update(key="quantity"), "key 'quantity' must be a required uuid"),
            (lambda m: m.update(domain="basket"), "unknown domain 'basket'"),
            (lambda m: m.update(version=2), "must be called cart.add_item.v2.json"),
            (lambda m: m.update(colour="red"), "unknown member 'colour'"),
            (lambda m: field(m, "quantity").update(min=1000), "the range 1000 to 999 is empty"),
            (lambda m: field(m, "quantity").update(max_bytes=3), "a field of type int has no 'max_bytes'"),
            (lambda m: field(m, "quantity").update(example=1000), "the example does not fit the field"),
            (lambda m: field(m, "quantity").pop("doc"), "'doc' is missing"),
            (lambda m: field(m, "quantity").update({"from": "moon"}), "'from' must be one of"),
            (lambda m: field(m, "product_name").pop("max_bytes"), "a field of type string needs 'max_bytes'"),
            (lambda m: field(m, "product_name").update(format="rhyme"), "unknown format 'rhyme'"),
            (lambda m: field(m, "product_name").update(name="Product Name"), "is no name"),
            (lambda m: field(m, "price").update(body={"optional": True}), "has 'body' but does not come from it"),
            (lambda m: m.update(internal=True), "only events and their fields can be 'internal'"),
            (lambda m: field(m, "quantity").update(internal=True), "only events and their fields can be 'internal'"),
        ]
        whole = (self.schemas / ADD).read_text()
        for edit, sentence in cases:
            self.change(ADD, edit)
            self.assertIn(sentence, self.refusal())
            (self.schemas / ADD).write_text(whole)

    def test_a_null_that_clears(self):
        name = "commands/member.change_profile.v1.json"
        twice = {"name": "no_phone", "type": "bool", "doc": "Again.", "from": "body_null", "of": "phone_number"}
        cases = [
            (lambda m: field(m, "clear_phone_number").pop("of"), "field 'clear_phone_number': 'of' goes with body_null"),
            (lambda m: field(m, "full_name").update(of="phone_number"), "field 'full_name': 'of' goes with body_null"),
            (lambda m: field(m, "clear_phone_number").update(of="fax"), "is of 'fax', which is no optional field"),
            (lambda m: field(m, "clear_phone_number").update(of="member_id"), "is of 'member_id', which is no optional"),
            (lambda m: field(m, "phone_number").pop("optional"), "is of 'phone_number', which is no optional field"),
            (lambda m: field(m, "clear_phone_number").update(optional=True), "must be a required bool"),
            (lambda m: field(m, "clear_phone_number").update(type="time", example="2026-11-23T10:00:00.000Z"),
             "must be a required bool"),
            (lambda m: m["fields"].append(twice), "field 'no_phone' is of 'phone_number', which has one"),
        ]
        whole = (self.schemas / name).read_text()
        for edit, sentence in cases:
            self.change(name, edit)
            self.assertIn(sentence, self.refusal())
            (self.schemas / name).write_text(whole)

    def test_names_that_are_null_in_a_map(self):
        name = "commands/product.change.v1.json"
        cases = [
            (lambda m: [field(m, "removed_images").pop(key) for key in ("items", "max")]
             and field(m, "removed_images").update(type="bool", example=True), "of a map, a required list of strings"),
            (lambda m: field(m, "removed_images").update(optional=True), "of a map, a required list of strings"),
            (lambda m: field(m, "removed_images").update(items={"type": "uuid"}, example=[]), "of a map, a required list of strings"),
            (lambda m: field(m, "removed_images").update(of="tags"), "must be a required bool"),
        ]
        whole = (self.schemas / name).read_text()
        for edit, sentence in cases:
            self.change(name, edit)
            self.assertIn(sentence, self.refusal())
            (self.schemas / name).write_text(whole)

    def test_broken_json_and_duplicate_members(self):
        (self.schemas / ADD).write_text("{")
        self.assertIn("is not JSON", self.refusal())
        (self.schemas / ADD).write_text('{"type": 1, "type": 2}')
        self.assertIn("member 'type' is there twice", self.refusal())

    def test_an_unknown_struct_and_an_unknown_enum(self):
        self.change("state/cart.json", lambda m: field(m, "lines")["items"].update(struct="row"))
        self.assertIn("unknown struct 'row'", self.refusal())
        self.change("state/cart.json", lambda m: field(m, "lines")["items"].update(struct="cart_line"))
        self.change("events/member.registered.v1.json", lambda m: field(m, "status").update(enum="mood"))
        self.assertIn("unknown enum 'mood'", self.refusal())

    def test_a_partition_count_beyond_what_a_command_id_holds(self):
        self.change("topics.json", lambda t: t["domains"]["cart"].update(partitions=1025))
        self.assertIn("partitions of 'cart' must be 1 to 1024", self.refusal())

    def test_the_command_line_says_it_and_fails(self):
        (self.schemas / ADD).write_text("{")
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(generate.main(["--schemas", str(self.schemas), "--out", str(self.folder / "out")]), 1)
        self.assertIn("generate.py: commands/cart.add_item.v1.json: is not JSON", said.getvalue())


class Released(Copy):
    def setUp(self):
        super().setUp()
        shutil.copytree(ROOT / release.LOGS, self.folder / release.LOGS)
        release.write(load(self.schemas))

    def check(self) -> str:
        try:
            release.check(load(self.schemas))
        except SchemaError as error:
            return str(error)
        return ""

    def test_nothing_changed(self):
        self.assertEqual(self.check(), "")

    def test_words_may_change(self):
        self.change(ADD, lambda m: field(m, "quantity").update(doc="How many."))
        self.assertEqual(self.check(), "")

    def test_an_optional_field_may_come(self):
        new = {"name": "note", "type": "string", "max_bytes": 10, "doc": "A note.", "optional": True, "from": "edge"}
        self.change(ADD, lambda m: m["fields"].append(new))
        self.assertEqual(self.check(), "")

    def test_a_required_field_may_not(self):
        self.change(ADD, lambda m: m["fields"].append({"name": "note", "type": "bool", "doc": "A note.", "from": "edge"}))
        self.assertIn("the new field 'note' must be optional", self.check())

    def test_a_range_may_not_change(self):
        self.change(ADD, lambda m: field(m, "quantity").update(max=1000))
        self.assertIn("field 'quantity' changed; make a new version", self.check())

    def test_a_field_may_not_go(self):
        self.change(ADD, lambda m: m["fields"].remove(field(m, "product_version")))
        self.assertIn("field 'product_version' is gone", self.check())

    def test_a_message_may_not_go(self):
        (self.schemas / ADD).unlink()
        self.change("http.json", lambda h: h.update(routes=[]))
        self.assertIn("is gone: every released version decodes for ever", self.check())

    def test_enum_values_are_only_added_at_the_end(self):
        self.change("enums.json", lambda e: e["member_status"]["values"].append("ASLEEP"))
        self.assertEqual(self.check(), "")
        self.change("enums.json", lambda e: e["member_status"]["values"].insert(0, "NEW"))
        self.assertIn("values may only be added at the end", self.check())

    def test_what_a_recorded_log_means_may_not_change(self):
        for suffix in (".sha256", ".txt"):
            path = next((self.folder / release.LOGS).glob(f"*{suffix}"))
            path.write_text(path.read_text() + " ")
            self.assertIn(f"{path.name} is gone or changed", self.check())
            path.unlink()
            self.assertIn(f"{path.name} is gone or changed", self.check())
            shutil.copy(ROOT / release.LOGS / path.name, path)

    def test_a_command_is_released_with_a_log_that_has_it(self):
        (self.schemas / ADD).rename(self.schemas / ADD.replace("v1", "v2"))
        self.change(ADD.replace("v1", "v2"), lambda m: m.update(version=2))
        (self.schemas / "released.json").write_text("{}")
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(generate.main(["--schemas", str(self.schemas), "--release"]), 1)
        self.assertIn("command cart.add_item.v2 is in no log of tests/data/logs", said.getvalue())
        self.assertEqual((self.schemas / "released.json").read_text(), "{}")

    def test_what_is_there_now_may_be_released(self):
        release.check_recorded(load(SCHEMAS))

    def test_what_is_released_now_still_holds(self):
        release.check(load(SCHEMAS))


if __name__ == "__main__":
    unittest.main()
