"""/docs: openapi.json and asyncapi.json as one page for people. It works without a network and without its script, and
all it is made of is in it: its Content-Security-Policy names style and script by their hashes."""

import base64
import hashlib
import html
import json
from pathlib import Path

from .markdown import headings, inline, to_html

HERE = Path(__file__).resolve().parent
METHODS = ("get", "post", "put", "patch", "delete")
WHO = {"public": "anybody", "optional": "anybody; more is shown to a token that may see more", "member": "a token is needed"}


def text_of(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def policy() -> str:
    """Of the page. Nothing is loaded; the icon is an empty data: URL, so that no browser asks for one."""
    return (f"default-src 'none'; style-src {hash_of(text_of('page.css'))}; script-src {hash_of(text_of('page.js'))}; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


# --- small pieces ----------------------------------------------------------------------------------------------------


def resolve(document: dict, node: dict) -> dict:
    if "$ref" not in node:
        return node
    for part in node["$ref"].removeprefix("#/").split("/"):
        document = document[part]
    return document


def table(titles: list, rows: list) -> str:
    """@rows: lists of HTML; the first cell names the row."""
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    body = "".join(f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"


def block(text: str) -> str:
    return f'<pre tabindex="0"><code>{html.escape(text)}</code></pre>'


def pretty(value) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def card(anchor: str, title: str, what: str, body: str) -> str:
    return (f'<details class="card" id="{html.escape(anchor)}"><summary><h3>{title}</h3> <span class="what">{inline(what)}'
            f"</span></summary><div>{body}</div></details>")


# --- shapes ----------------------------------------------------------------------------------------------------------


def limits(schema: dict) -> str:
    texts = []
    if "minimum" in schema or "maximum" in schema:
        texts.append(f"{schema.get('minimum', '…')} to {schema.get('maximum', '…')}")
    if "x-range" in schema:
        texts.append(schema["x-range"])
    if "maxLength" in schema:
        texts.append(f"at most {schema['maxLength']} characters")
    if "maxItems" in schema:
        texts.append(f"at most {schema['maxItems']}")
    if "default" in schema:
        texts.append(f"else {schema['default']}")
    return ", ".join(texts)


def type_of(schema: dict) -> str:
    """HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f'<a href="#shape-{html.escape(name)}">{html.escape(name)}</a>'
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return " or ".join(type_of(part) for part in schema[several])
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    if "enum" in schema:
        return ", ".join(code(str(value)) for value in schema["enum"])
    kinds = schema.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    names = [f"list of {type_of(schema['items'])}" if kind == "array" and "items" in schema else
             {"object": "object", "array": "list", "null": code("null")}.get(kind, schema.get("format", kind)) for kind in kinds]
    range_ = limits(schema)
    return " or ".join(names) + (f", {html.escape(range_)}" if range_ else "")


def member_rows(schema: dict, prefix: str = "") -> list:
    rows = []
    for name, part in schema.get("properties", {}).items():
        needed = "" if name in schema.get("required", []) else "optional"
        rows.append([code(prefix + name), type_of(part), needed, inline(part.get("description", ""))])
        inner = part.get("items", part)
        if "properties" in inner:
            rows += member_rows(inner, prefix + name + ("[]." if "items" in part else "."))
    return rows


def shape(schema: dict) -> str:
    rows = member_rows(schema)
    text = inline(schema.get("description", ""))
    return (f"<p>{text}</p>" if text else "") + (table(["Member", "Type", "", "Meaning"], rows) if rows
                                                 else f"<p>{type_of(schema)}</p>")


# --- operations ------------------------------------------------------------------------------------------------------


def who_may(operation: dict) -> str:
    security = operation["security"]
    if not security:
        return WHO["public"]
    scopes = [scope for choice in security for scope in choice.get("bearer", [])]
    if scopes:
        return f"a token with the scope {', '.join(code(scope) for scope in scopes)}"
    return WHO["optional"] if {} in security else WHO["member"]


def parameter_table(document: dict, operation: dict) -> str:
    rows = []
    for reference in operation["parameters"]:
        p = resolve(document, reference)
        rows.append([code(p["name"]), {"path": "path", "query": "query", "header": "header field"}[p["in"]],
                     type_of(p["schema"]), inline(p["description"])])
    return "<h4>Parameters</h4>" + table(["Name", "In", "Type", "Meaning"], rows)


def curl(path: str, method: str, operation: dict, body) -> str:
    lines = [f'curl "$SHOP{path}"' if method == "get" else f'curl -X {method.upper()} "$SHOP{path}"']
    names = [p["$ref"].rsplit("/", 1)[1] for p in operation["parameters"]]
    if operation["security"] and {} not in operation["security"]:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if "IdempotencyKey" in names:
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    if "Prefer" in names:
        lines.append("-H 'Prefer: wait=5'")
    if body is not None:
        lines += ["-H 'Content-Type: application/json'", "-d '" + json.dumps(body, ensure_ascii=False).replace("'", "'\\''") + "'"]
    return " \\\n  ".join(lines)


def request_section(document: dict, operation: dict) -> tuple:
    """(HTML, example of the body)."""
    if "requestBody" not in operation:
        return "", None
    content = operation["requestBody"]["content"]["application/json"]
    rows = member_rows(resolve(document, content["schema"]))
    return "<h4>Body</h4>" + table(["Member", "Type", "", "Meaning"], rows), content["example"]


def fields_of(response: dict) -> str:
    return ", ".join(code(name) for name in response.get("headers", {}))


def answer_rows(document: dict, operation: dict) -> list:
    rows = []
    for status, reference in operation["responses"].items():
        response = resolve(document, reference)
        problem = response.get("content", {}).get("application/problem+json")
        if problem:
            codes = problem["schema"]["allOf"][1]["properties"]["code"]["enum"]
            links = ", ".join(f'<a href="#problem-{name}">{code(name)}</a>' for name in codes)
            rows.append([code(status), f"{inline(response['description'].split(chr(10))[0])} {links}",
                         '<a href="#shape-Problem">Problem</a>', fields_of(response)])
            continue
        shown = [type_of(media["schema"]) for media in response.get("content", {}).values()]
        rows.append([code(status), inline(response["description"]), " or ".join(shown), fields_of(response)])
    return rows


def example_of_success(document: dict, operation: dict) -> str:
    for status, reference in operation["responses"].items():
        for kind, media in resolve(document, reference).get("content", {}).items():
            if status.startswith("2") and status != "202" and "example" in media:
                return f"<h4>Example of a {status}</h4>" + block(pretty(media["example"]))
    return ""


def operation_card(document: dict, path: str, method: str, operation: dict) -> str:
    body_html, body = request_section(document, operation)
    content = f'<p class="who">Who: {who_may(operation)}</p>' + to_html(operation.get("description", ""))
    content += body_html + parameter_table(document, operation)
    content += "<h4>Answers</h4>" + table(["Status", "When", "Body", "Header fields"], answer_rows(document, operation))
    content += "<h4>Try it</h4>" + block(curl(path, method, operation, body)) + example_of_success(document, operation)
    title = f'<span class="method {method}">{method.upper()}</span> {code(path)}'
    return card(operation["operationId"], title, operation["summary"], content)


def operations_by_tag(document: dict) -> dict:
    found = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                found[methods[method]["tags"][0]].append((path, method, methods[method]))
    return found


def tag_section(document: dict, tag: dict, operations: list) -> str:
    cards = "\n".join(operation_card(document, *row) for row in operations)
    return (f'<section aria-labelledby="tag-{tag["name"]}"><h2 id="tag-{tag["name"]}">{tag["name"].capitalize()}</h2>'
            f"<p>{inline(tag['description'])}</p>{cards}</section>")


def problem_section(document: dict) -> str:
    rows = [[f'<span id="problem-{name}">{code(name)}</span>', str(p["status"]), inline(p["title"]), inline(p["doc"])]
            for name, p in document["x-problems"].items()]
    return ('<section aria-labelledby="problems"><h2 id="problems">Problem codes</h2>'
            + table(["Code", "Status", "Title", "What it means"], rows) + "</section>")


def field_section(document: dict) -> str:
    rows = [[code(name), inline(f["description"])] for name, f in document["x-headers-of-every-answer"].items()]
    rows += [[code(name), inline(f["description"])] for name, f in document["components"]["headers"].items()
             if not name.endswith("-required")]
    return ('<section aria-labelledby="fields"><h2 id="fields">Header fields of answers</h2>'
            + table(["Field", "Meaning"], rows) + "</section>")


def shape_section(document: dict) -> str:
    cards = "\n".join(card(f"shape-{name}", code(name), schema.get("description", "").split(". ")[0], shape(schema))
                      for name, schema in sorted(document["components"]["schemas"].items()))
    return f'<section aria-labelledby="shapes"><h2 id="shapes">Shapes</h2>{cards}</section>'


# --- messages --------------------------------------------------------------------------------------------------------


def topic_table(asyncapi: dict) -> str:
    rows = [[code(c["address"]), str(c["bindings"]["kafka"]["partitions"]), inline(c["description"])]
            for c in asyncapi["channels"].values()]
    return table(["Topic", "Partitions", "What is in it"], rows)


def message_card(asyncapi: dict, name: str, message: dict) -> str:
    payload = resolve(asyncapi, message["payload"])
    content = f"<p>Key: {inline(message['bindings']['kafka']['key']['description'])}</p>" + shape(payload)
    content += "<h4>Example</h4>" + block(pretty(message["examples"][0]["payload"]))
    return card(f"message-{name}", code(name), message["summary"], content)


def message_section(asyncapi: dict, title: str, headers: str) -> str:
    """Those with that schema of headers: events, or commands."""
    chosen = {name: m for name, m in asyncapi["components"]["messages"].items() if m["headers"]["$ref"].endswith(f"/{headers}")}
    cards = "\n".join(message_card(asyncapi, name, m) for name, m in chosen.items() if "examples" in m)
    fields = asyncapi["components"]["schemas"][headers]
    rows = [[code(name), "" if name in fields["required"] else "optional", inline(part["description"])]
            for name, part in fields["properties"].items()]
    anchor = title.lower()
    return (f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{title}</h2><h4>Headers of the record</h4>'
            + table(["Header", "", "Meaning"], rows) + cards + "</section>")


def topics_section(asyncapi: dict) -> str:
    return ('<section aria-labelledby="topics"><h2 id="topics">Topics</h2>' + to_html(asyncapi["info"]["description"])
            .replace("<h2", "<h4").replace("</h2", "</h4") + topic_table(asyncapi) + "</section>")


# --- the page --------------------------------------------------------------------------------------------------------


def link_list(title: str, links: list) -> str:
    items = "".join(f'<li><a href="#{html.escape(anchor)}">{text}</a></li>' for anchor, text in links)
    return f"<h2>{title}</h2><ul>{items}</ul>"


def contents(document: dict, by_tag: dict) -> str:
    parts = [link_list("Guide", [(anchor, html.escape(title)) for anchor, title in headings(document["info"]["description"])])]
    for tag, operations in by_tag.items():
        parts.append(link_list(tag, [(o["operationId"], f'<span class="method {m}">{m.upper()}</span> {html.escape(p)}')
                                     for p, m, o in operations]))
    parts.append(link_list("Reference", [("problems", "Problem codes"), ("fields", "Header fields"), ("shapes", "Shapes"),
                                         ("topics", "Topics"), ("events", "Events"), ("commands", "Commands")]))
    return '<nav aria-label="Contents"><details><summary>Contents</summary>' + "".join(parts) + "</details></nav>"


def header(document: dict) -> str:
    info = document["info"]
    return (f'<header><h1>{info["title"]} <small>{info["version"]}</small></h1><p>{inline(info["summary"])} For programs: '
            '<a href="/openapi.json">openapi.json</a>, <a href="/asyncapi.json">asyncapi.json</a>.</p>'
            '<div class="find" hidden><label for="find">Find an operation, shape or message</label>'
            '<input type="search" id="find" autocomplete="off"> <span id="found" role="status"></span></div></header>')


def page(openapi: str, asyncapi: str) -> str:
    document, messages = json.loads(openapi), json.loads(asyncapi)
    by_tag = operations_by_tag(document)
    main = [f'<section aria-label="Guide">{to_html(document["info"]["description"])}</section>']
    main += [tag_section(document, tag, by_tag[tag["name"]]) for tag in document["tags"] if by_tag[tag["name"]]]
    main += [problem_section(document), field_section(document), shape_section(document), topics_section(messages),
             message_section(messages, "Events", "EventHeaders"), message_section(messages, "Commands", "CommandHeaders")]
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>tillwire API</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
            f"<style>{text_of('page.css')}</style></head>\n<body><a class=\"skip\" href=\"#main\">To the text</a>"
            f'<div class="frame">{header(document)}{contents(document, by_tag)}<main id="main" tabindex="-1">'
            + "\n".join(main) + f"</main></div><script>{text_of('page.js')}</script></body></html>\n")
