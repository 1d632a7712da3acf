"""Examples of whole values, put together from the examples of their parts."""

FORMATS = {"uuid": "0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b", "date-time": "2026-11-23T10:00:00.000Z",
           "uri": "https://example.com/"}


def example_of(schema: dict, schemas: dict):
    """A value that fits the schema, as telling as its examples are; None for one that says nothing."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "const" in schema:
        return schema["const"]
    if "default" in schema:
        return schema["default"]
    if "oneOf" in schema:
        return example_of(schema["oneOf"][0], schemas)
    return of_type(schema, schemas)


def of_type(schema: dict, schemas: dict):
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        return {name: example_of(part, schemas) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example_of(schema["items"], schemas)]
    if kind == "string":
        return FORMATS.get(schema.get("format", ""), "…")
    return {"integer": schema.get("minimum", 1), "number": 1, "boolean": True, "null": None}[kind]
