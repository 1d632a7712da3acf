"""JSON Schemas (2020-12) of fields: as they stand in messages, and as they stand in HTTP bodies."""

import json

from .model import FORMATS, INT_MAX, MAP_NAME_MAX_BYTES, Field, Struct

UUID = {"type": "string", "format": "uuid"}
MAP_NAME = {"minLength": 1, "maxLength": MAP_NAME_MAX_BYTES, "pattern": "^[^$.]+$"}


def dump(document: dict) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def money_text(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


def string_schema(f: Field) -> dict:
    """Lengths are bytes of UTF-8; a text never has more characters than bytes, so maxLength is a true upper bound."""
    schema = {"type": "string", "maxLength": f.max}
    if f.min:
        schema["minLength"] = 1
    if f.format:
        schema["pattern"] = FORMATS[f.format]
    return schema


def int_schema(f: Field) -> dict:
    schema = {"type": "integer"}
    if f.min > -INT_MAX:
        schema["minimum"] = f.min
    if f.max < INT_MAX:
        schema["maximum"] = f.max
    return schema


def decimal_schema(f: Field) -> dict:
    return {"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.[0-9]{1,2})?$",
            "x-range": f"{money_text(f.min)} to {money_text(f.max)}"}


def time_schema(in_body: bool) -> dict:
    if in_body:
        return {"type": "string", "format": "date-time"}
    return {"type": "integer", "minimum": 0, "x-unit": "ms since 1970-01-01T00:00:00Z"}


def list_schema(f: Field, in_body: bool, structs: dict) -> dict:
    schema = {"type": "array", "items": value_schema(f.item, in_body, structs), "maxItems": f.max}
    if f.min:
        schema["minItems"] = f.min
    return schema


def map_schema(f: Field, in_body: bool, structs: dict) -> dict:
    return {"type": "object", "additionalProperties": value_schema(f.item, in_body, structs), "propertyNames": MAP_NAME,
            "maxProperties": f.max}


def value_schema(f: Field, in_body: bool, structs: dict) -> dict:
    if f.type == "uuid":
        return dict(UUID)
    if f.type == "bytes":
        return {"type": "string", "format": "binary", "x-bytes": f.max}
    if f.type == "enum":
        return {"type": "string", "enum": list(f.enum.values)}
    if f.type == "bool":
        return {"type": "boolean"}
    if f.type == "time":
        return time_schema(in_body)
    if f.type == "struct":
        return struct_schema(structs[f.struct], in_body, structs)
    if f.type in ("list", "map"):
        return (list_schema if f.type == "list" else map_schema)(f, in_body, structs)
    return {"string": string_schema, "int": int_schema, "money": decimal_schema, "hundredths": decimal_schema}[f.type](f)


def example_of(f: Field, in_body: bool):
    if f.type == "time" and not in_body:
        return 1795428000000
    return f.example


def field_schema(f: Field, in_body: bool, structs: dict) -> dict:
    schema = {**value_schema(f, in_body, structs), "description": f.doc}
    if f.null_member and f.type == "map":
        values = schema["additionalProperties"]
        schema["additionalProperties"] = {**values, "type": [values["type"], "null"]}
    elif f.null_member:
        schema["type"] = [schema["type"], "null"]
    if f.type == "string":
        schema["description"] += f" {f.min} to {f.max} bytes."
    if f.example is not None and f.type != "bytes":
        schema["examples"] = [example_of(f, in_body)]
    return schema


def struct_schema(struct: Struct, in_body: bool, structs: dict) -> dict:
    return {
        "type": "object",
        "description": struct.doc,
        "required": [f.name for f in struct.fields if not f.optional],
        "properties": {f.name: field_schema(f, in_body, structs) for f in struct.fields},
        "additionalProperties": not in_body,  # readers of messages skip what they do not know
    }


def example_payload(struct: Struct) -> dict:
    return {f.name: example_of(f, False) for f in struct.fields if f.example is not None and f.type != "bytes"}
