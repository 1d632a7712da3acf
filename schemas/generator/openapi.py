"""openapi.json: every route with all it takes and all it can answer."""

import re

from .examples import example_of
from .json_schema import dump, struct_schema
from .model import Model, SchemaError

# What any request can be answered with, whatever its route: framing, size, load, and our own failures.
EVERYWHERE = {"400": ["malformed-request"], "408": ["request-timeout"], "413": ["too-large"], "414": ["uri-too-long"],
              "429": ["too-many-requests"], "431": ["headers-too-large"], "500": ["internal"], "503": ["unavailable"]}
SHARED_NAMES = {"400": "Malformed", "401": "Unauthenticated", "403": "MissingScope", "404": "NotFound",
                "405": "MethodNotAllowed",
                "408": "RequestTimeout", "409": "Conflict", "410": "Gone", "412": "PreconditionFailed", "413": "TooLarge",
                "414": "UriTooLong", "415": "UnsupportedMediaType", "422": "Unprocessable", "429": "TooManyRequests",
                "431": "HeadersTooLarge", "500": "Failed", "503": "Unavailable"}
MUST_HAVE = {"401": ["WWW-Authenticate"], "405": ["Allow"], "429": ["Retry-After"], "503": ["Retry-After"]}
TITLES = {"400": "The request is malformed.", "401": "Not authenticated.", "403": "The token lacks a scope.",
          "404": "There is no such thing.", "405": "The path does not know this method; `Allow` has those it knows.",
          "408": "The request did not arrive in time.", "409": "The state forbids it.", "410": "It is gone.",
          "412": "It has another version than `If-Match` says.", "413": "The body is too large.",
          "414": "The URI is longer than 2 KiB.", "415": "The body is not of a content type this takes.",
          "422": "The body or the command does not fit.", "429": "Too many requests; `Retry-After` says when to come again.",
          "431": "The header fields are more than 8 KiB or 64 lines.", "500": "The service failed.",
          "503": "A part of the service is away; try again after `Retry-After`."}
# An answer of the end of a command, good or bad, that a client waited for or asked for again.
OF_ENDS = ["Preference-Applied", "Consistency-Token", "Idempotent-Replayed"]
OF_READS = ["Preference-Applied", "Consistency"]  # that waited for a write


# --- requests --------------------------------------------------------------------------------------------------------


def is_list(route: dict) -> bool:
    return "cursor" in route.get("query", [])


def is_consistent(route: dict) -> bool:
    """Does a read wait for the write of a `Consistency-Token`?"""
    return route.get("consistent", False)


def parameters_of(route: dict) -> list:
    names = re.findall(r"{(\w+)}", route["path"])
    if "command" in route:
        names += ([] if route.get("only_202") else ["Prefer"]) + ["IdempotencyKey"]
    elif route.get("prefer") or is_consistent(route):
        names.append("Prefer")
    if route.get("idempotent"):  # it sends commands, but does not wait for their ends
        names.append("IdempotencyKey")
    if route.get("if_match"):
        names.append("IfMatch")
    names += route.get("query", [])
    if route.get("etag"):
        names.append("IfNoneMatch")
    if is_consistent(route):
        names.append("ConsistencyToken")
    names += route.get("fields", []) + ["Traceparent"]
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def body_schema(model: Model, route: dict):
    """The name of the schema of a route's HTTP body, None when it has none."""
    if "command" in route:
        command = model.message(route["command"])
        if command is None:
            raise SchemaError(f"http.json: {route['path']}: unknown command '{route['command']}'")
        return command.body and command.body.name
    if "body" in route:
        found = next((m.body.name for m in model.of("body") if m.type == route["body"]), None)
        if found is None and route["body"] in model.http["schemas"]:
            found = route["body"]
        if found is None:
            raise SchemaError(f"http.json: {route['path']}: unknown body '{route['body']}'")
        return found
    return None


def request_body(route: dict, body: str, schemas: dict) -> dict:
    types = ["application/json"] + (["application/merge-patch+json"] if route["method"] == "PATCH" else [])
    content = {"schema": {"$ref": f"#/components/schemas/{body}"}, "example": example_of(schemas[body], schemas)}
    return {"required": True, "content": {t: content for t in types}}


def security_of(route: dict) -> list:
    auth = route["auth"]
    if auth == "public":
        return []
    if auth == "optional":  # whoever sends a token sees what it lets them see
        return [{}, {"bearer": []}]
    if auth == "caller":  # a command of an anonymous caller can be asked for by anybody who knows its id
        return [{"bearer": []}, {}]
    return [{"bearer": [auth] if ":" in auth else []}] + route.get("also", [])


# --- answers ---------------------------------------------------------------------------------------------------------


def header_refs(required: list, optional: list) -> dict:
    """Header fields of an answer; those it must have are components of their own, since a $ref takes no more words."""
    names = {name: f"{name}-required" for name in required}
    names.update({name: name for name in optional if name not in names})
    return {name: {"$ref": f"#/components/headers/{target}"} for name, target in names.items()}


def headers_of_success(route: dict, status: str) -> dict:
    required, optional = [], list(route.get("answer_fields", []))
    if "command" in route and status == "202":
        required += ["Location", "Retry-After", "Consistency-Token"]
        optional.append("Idempotent-Replayed")
    elif "command" in route:
        required += ["Location"] if status == "201" else []
        optional += OF_ENDS + (["ETag"] if "schema" in route["final"][status] else [])
    elif status == "202":
        required.append("Retry-After")
        optional += OF_ENDS
    if route.get("etag"):
        required.append("ETag")
    if is_list(route):
        optional.append("Link")
    if route.get("prefer"):
        optional += ["Preference-Applied", "Retry-After"]
    if is_consistent(route):
        optional += OF_READS
    return header_refs(required, optional)


def with_headers(response: dict, headers: dict) -> dict:
    return {**response, **({"headers": headers} if headers else {})}


def answer(route: dict, status: str, spec: dict, schemas: dict) -> dict:
    headers = headers_of_success(route, status)
    if spec.get("type") == "text/event-stream":
        headers.update(header_refs([], ["X-Accel-Buffering"]))
    response = with_headers({"description": spec["doc"]}, headers)
    if "schema" in spec:
        content = {"schema": {"$ref": f"#/components/schemas/{spec['schema']}"}}
        example = example_of(schemas[spec["schema"]], schemas)
        if example:
            content["example"] = example
        response["content"] = {spec.get("type", "application/json"): content}
    elif "type" in spec:
        response["content"] = {spec["type"]: {"schema": {"type": "string"}}}
    return response


def problem_codes(route: dict, has_body: bool) -> dict:
    """Status -> codes, of all the problems a route can answer with."""
    found = {status: list(codes) for status, codes in EVERYWHERE.items()}

    def add(status: str, *codes: str) -> None:
        found[status] = found.get(status, []) + [code for code in codes if code not in found.get(status, [])]

    if route["auth"] != "public":
        add("401", "unauthenticated")
    if ":" in route["auth"]:
        add("403", "missing-scope")
    if has_body or route.get("empty_body"):
        add("415", "unsupported-media-type")
        add("422", "invalid-body")
    if route.get("if_match"):
        add("412", "precondition-failed")
    if ("command" in route or route.get("idempotent")) and not route.get("only_202"):
        add("422", "idempotency-key-reused")
    if "command" in route or route.get("idempotent"):
        add("503", "enqueue-timeout")
    if "command" in route:
        add("500", "dead-lettered")
    if route.get("sends"):  # it waits for the end of a command of its own
        add("500", "dead-lettered")
        add("503", "enqueue-timeout")
    for status, codes in route.get("problems", {}).items():
        add(status, *codes)
    return dict(sorted(found.items()))


def check_codes(model: Model, route: dict, codes: dict) -> None:
    for status, names in codes.items():
        for name in names:
            known = model.http["problems"].get(name)
            if known is None:
                raise SchemaError(f"http.json: {route['path']}: unknown problem '{name}'")
            if str(known["status"]) != status:
                raise SchemaError(f"http.json: {route['path']}: problem '{name}' has status {known['status']}, not {status}")


def problem(model: Model, status: str, codes: list, fields: list) -> dict:
    """@fields: what it may have beside those that every problem of this status must have."""
    known = model.http["problems"]
    text = TITLES[status] + "\n\n" + "\n".join(f"- `{code}`: {known[code]['doc']}" for code in codes)
    example = {"type": f"/problems/{codes[0]}", "title": known[codes[0]]["title"], "status": int(status),
               "detail": known[codes[0]]["title"], "instance": "/v1/…", "code": codes[0],
               "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"},
                        {"type": "object", "properties": {"status": {"const": int(status)}, "code": {"enum": codes}}}]}
    return with_headers({"description": text, "content": {"application/problem+json": {"schema": schema, "example": example}}},
                        header_refs(MUST_HAVE.get(status, []), fields))


def fields_of_problem(route: dict, status: str) -> list:
    if "command" in route and not route.get("only_202"):
        return OF_ENDS if status in ("401", "404", "409", "410", "412", "422", "500", "503") else []
    if is_consistent(route):  # it waited before it found nothing
        return OF_READS if status in ("400", "404", "410", "500", "503") else []
    return []


def problem_responses(model: Model, route: dict, has_body: bool) -> dict:
    """Those every route has are components; what is a route's own stands there."""
    codes = problem_codes(route, has_body)
    check_codes(model, route, codes)
    shared = {"401", "403", "415", *EVERYWHERE}
    result = {}
    for status, names in codes.items():
        usual = names == EVERYWHERE.get(status, names) and status in shared
        fields = fields_of_problem(route, status)
        result[status] = ({"$ref": f"#/components/responses/{SHARED_NAMES[status]}"} if usual and not fields
                          else problem(model, status, names, fields))
    return result


def shared_responses(model: Model) -> dict:
    usual = {**EVERYWHERE, "401": ["unauthenticated"], "403": ["missing-scope"], "405": ["method-not-allowed"],
             "415": ["unsupported-media-type"]}
    return {SHARED_NAMES[status]: problem(model, status, codes, []) for status, codes in sorted(usual.items())}


def accepted_response(schemas: dict) -> dict:
    return {"description": "The command is in the log; its end comes later. Ask at `Location`.",
            "headers": header_refs(["Location", "Retry-After", "Consistency-Token"], ["Idempotent-Replayed"]),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"},
                                             "example": example_of(schemas["Accepted"], schemas)}},
            "links": {"end": {"operationId": "getCommand", "parameters": {"command_id": "$response.body#/command_id"},
                              "description": "What became of it. Use `Location` as it is, where you can: it has more in it."}}}


def operation(model: Model, route: dict, schemas: dict) -> dict:
    body = body_schema(model, route)
    responses = {status: answer(route, status, spec, schemas)
                 for status, spec in {**route.get("answers", {}), **route.get("final", {})}.items()}
    if "command" in route:
        responses["202"] = {"$ref": "#/components/responses/Accepted"}
    if route.get("etag"):
        responses["304"] = with_headers({"description": "It is still what `If-None-Match` names."},
                                        header_refs(["ETag"], route.get("answer_fields", []) +
                                                    (OF_READS if is_consistent(route) else [])))
    responses.update(problem_responses(model, route, bool(body)))
    result = {"operationId": route["operation"], "tags": [route["tag"]], "summary": route["summary"]}
    if "doc" in route:
        result["description"] = route["doc"]
    result["parameters"] = parameters_of(route)
    if body:
        result["requestBody"] = request_body(route, body, schemas)
    result["responses"] = dict(sorted(responses.items()))
    result["security"] = security_of(route)
    return result


# --- the document ----------------------------------------------------------------------------------------------------


def paths(model: Model, schemas: dict) -> dict:
    result = {}
    for route in model.http["routes"]:
        if route["tag"] not in model.http["tags"]:
            raise SchemaError(f"http.json: {route['path']}: unknown tag '{route['tag']}'")
        result.setdefault(route["path"], {})[route["method"].lower()] = operation(model, route, schemas)
    return result


def parameters(model: Model) -> dict:
    result = {}
    for name, p in model.http.get("parameters", {}).items():
        where = p.get("in", "path")
        result[name] = {"name": p.get("name", name), "in": where, "required": where == "path", "description": p["doc"],
                        "schema": p["schema"], **({"example": p["example"]} if "example" in p else {})}
    return result


def headers(model: Model) -> dict:
    """Each once as it may be there, and once as it must."""
    result = {}
    for name, spec in model.http["headers"].items():
        header = {"description": spec["doc"], "schema": spec["schema"],
                  **({"example": spec["example"]} if "example" in spec else {})}
        result[name] = header
        result[f"{name}-required"] = {**header, "required": True}
    return result


def of_every_answer(model: Model) -> dict:
    """Header fields that are not repeated at each answer."""
    return {name: {"description": spec["doc"], "required": spec["always"]}
            for name, spec in model.http["common_headers"].items()}


def problem_table(model: Model) -> dict:
    return {code: {"type": f"/problems/{code}", **spec} for code, spec in model.http["problems"].items()}


def openapi(model: Model) -> str:
    bodies = {m.body.name: struct_schema(m.body, True, m.structs) for m in model.messages if m.body}
    schemas = {**model.http.get("schemas", {}), **bodies}
    return dump({
        "openapi": "3.1.0",
        "info": {"title": "tillwire", "version": model.version, "summary": "A shop backend in which every change is a message.",
                 "description": model.guide, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "servers": [{"url": "/", "description": "The edge that serves this document."}],
        "externalDocs": {"url": "/docs", "description": "This document as a page for people."},
        "tags": [{"name": name, "description": text} for name, text in model.http["tags"].items()],
        "paths": paths(model, schemas),
        "components": {
            "schemas": schemas,
            "parameters": parameters(model),
            "headers": headers(model),
            "responses": {"Accepted": accepted_response(schemas), **shared_responses(model)},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                                           "description": "`access_token` of a login, or a token an operator issued with "
                                                          "the scopes an operation names."}},
        },
        "x-problems": problem_table(model),
        "x-headers-of-every-answer": of_every_answer(model),
    })
