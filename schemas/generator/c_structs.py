"""C structs and the field tables that lib/codec.c and lib/body.c walk."""

from .model import Enum, Field, Message, Model, Struct

NOTICE = "/* Generated from schemas/ by schemas/generate.py: edit the schema, not this file. */\n"
WIDTH = 118

KINDS = {
    "uuid": "UUID", "string": "STRING", "bytes": "BYTES", "int": "INT", "bool": "BOOL", "money": "DECIMAL",
    "hundredths": "DECIMAL", "time": "TIME", "enum": "ENUM", "list": "LIST", "map": "MAP", "struct": "STRUCT",
}
COMPACT_KINDS = {**KINDS, "uuid": "UUID_BIN", "money": "DECIMAL_INT", "hundredths": "DECIMAL_INT",
                 "enum": "ENUM_INT"}


def c_string(text: str) -> str:
    """A C string literal; bytes beyond ASCII as octal, which never swallows what follows."""
    out = ""
    for byte in text.encode("utf-8"):
        char = chr(byte)
        out += "\\" + char if char in '"\\' else char if 32 <= byte < 127 else f"\\{byte:03o}"
    return f'"{out}"'


def c_int(value: int) -> str:
    return str(value) if abs(value) < 2**31 else f"INT64_C({value})"


def enum_constant(enum: Enum, value: str) -> str:
    return f"TW_{enum.name}_{value}".upper()


# --- structs ---------------------------------------------------------------------------------------------------------


def c_type(f: Field) -> str:
    if f.type in ("int", "money", "hundredths", "time"):
        return "int64_t"
    if f.type == "enum":
        return f"enum tw_{f.enum.name}"
    return {"uuid": "struct tw_uuid", "string": "struct tw_str", "bool": "bool", "bytes": "uint8_t",
            "map": "struct tw_pair", "struct": f"struct tw_{f.struct}"}[f.type]


def range_text(f: Field) -> str:
    """Units and range, for a doc comment."""
    text = {
        "string": f"{f.min}..{f.max} bytes" + (f", {f.format}" if f.format else ""),
        "int": f"{f.min}.." + (str(f.max) if f.max < 2**53 - 1 else ""),
        "money": "minor units",
        "hundredths": "hundredths",
        "time": "ms since 1970",
        "list": f"at most {f.max}",
        "map": f"at most {f.max}",
    }.get(f.type, "")
    if f.item and f.item.type == "string":
        text += f" of {range_text(f.item)}"
    return text


def member_comment(f: Field) -> str:
    ranges = range_text(f)
    return f"/** {f.doc}{' (' + ranges + ')' if ranges else ''} */"


def struct_members(f: Field) -> list:
    lines = ["    " + member_comment(f)]
    if f.optional:
        lines.append(f"    bool has_{f.name};")
    if f.null_member and f.type == "map":
        lines += [f"    struct tw_str *{f.null_member}; /**< names that were null */",
                  f"    uint32_t {f.null_member}_len;", f"    uint32_t {f.null_member}_cap;"]
    elif f.null_member:
        lines.append(f"    bool {f.null_member}; /**< the member was null */")
    if f.type in ("list", "map"):
        element = c_type(f.item) if f.type == "list" else c_type(f)
        lines += [f"    {element} *{f.name};", f"    uint32_t {f.name}_len;", f"    uint32_t {f.name}_cap;"]
    elif f.type == "bytes":
        lines.append(f"    uint8_t {f.name}[{f.max}];")
    else:
        lines.append(f"    {c_type(f)} {f.member};")
    return lines


def struct_definition(struct: Struct, note: str = "") -> str:
    lines = [f"/** {struct.doc}{note} */", f"struct tw_{struct.name} {{"]
    for f in struct.fields:
        lines += struct_members(f)
    return "\n".join(lines + ["};", ""])


def enum_definition(enum: Enum) -> str:
    values = "\n".join(f"    {enum_constant(enum, v)}," for v in enum.values)
    return f"/** {enum.doc} */\nenum tw_{enum.name} {{\n{values}\n}};\n"


# --- tables ----------------------------------------------------------------------------------------------------------


def key_literal(f: Field) -> str:
    return f'"\\{0xA0 + len(f.pack):03o}" "{f.pack}"'


def table_kind(f: Field, compact: bool) -> str:
    return "TW_KIND_" + (COMPACT_KINDS if compact else KINDS)[f.type]


def item_rule(f: Field, compact: bool) -> str:
    parts = [f".kind = {table_kind(f, compact)}", f".min = {c_int(f.min)}",
             f".max = {c_int(f.max)}"]
    if f.format:
        parts.append(f".format = TW_FORMAT_{f.format.upper()}")
    return "&(const struct tw_field){" + ", ".join(parts) + "}"


def table_row(struct: Struct, f: Field) -> str:
    owner = f"struct tw_{struct.name}"
    parts = [f'.name = "{f.name}"', f".key = {key_literal(f)}", f".key_len = {len(f.pack) + 1}",
             f".kind = {table_kind(f, struct.compact)}", f".offset = offsetof({owner}, {f.member})"]
    if f.optional:
        parts += [".optional = true", f".has_offset = offsetof({owner}, has_{f.name})"]
    if f.null_member:
        parts += [".null_clears = true", f".null_offset = offsetof({owner}, {f.null_member})"]
    if f.internal:
        parts.append(".internal = true")
    if f.min:
        parts.append(f".min = {c_int(f.min)}")
    if f.max:
        parts.append(f".max = {c_int(f.max)}")
    if f.format:
        parts.append(f".format = TW_FORMAT_{f.format.upper()}")
    if f.enum:
        parts.append(f".values = {f.enum.name}_names")
    if f.type == "struct":
        parts.append(f".layout = &{f.struct}_layout")
    if f.type == "list" and f.item.struct:
        parts += [f".item_size = sizeof(struct tw_{f.item.struct})", f".layout = &{f.item.struct}_layout"]
    elif f.type == "list":
        parts += [f".item_size = sizeof({c_type(f.item)})", f".item = {item_rule(f.item, struct.compact)}"]
    elif f.type == "map":
        parts += [".item_size = sizeof(struct tw_pair)", f".item = {item_rule(f.item, struct.compact)}"]
    return wrap_row(parts)


def wrap_row(parts: list) -> str:
    lines, line = [], "    {"
    for i, part in enumerate(parts):
        piece = part + (", " if i + 1 < len(parts) else "")
        if len(line + piece) > WIDTH:
            lines.append(line.rstrip())
            line = "     "
        line += piece
    return "\n".join(lines + [line + "},"])


def has_lists(struct: Struct, structs: dict) -> bool:
    return any(f.type in ("list", "map") or (f.type == "struct" and has_lists(structs[f.struct], structs))
               for f in struct.fields)


def layout_table(struct: Struct, structs: dict, public: bool = False) -> str:
    name = f"{'tw_' if public else ''}{struct.name}_layout"
    rows = "\n".join(table_row(struct, f) for f in struct.fields)
    required = sum(1 << i for i, f in enumerate(struct.fields) if not f.optional)
    return (f"static const struct tw_field {struct.name}_fields[] = {{\n{rows}\n}};\n"
            f"{'' if public else 'static '}const struct tw_layout {name} = {{\n"
            f'    .name = "{struct.title}",\n    .fields = {struct.name}_fields,\n'
            f"    .field_count = TW_LEN({struct.name}_fields),\n    .size = sizeof(struct tw_{struct.name}),\n"
            f"    .has_lists = {'true' if has_lists(struct, structs) else 'false'},\n"
            f"    .required = UINT64_C({required:#x}),\n}};\n")


def enum_names(enum: Enum) -> str:
    values = "\n".join(f"    {{{c_string(v)}, {len(v.encode())}}}," for v in enum.values)
    return f"static const struct tw_str {enum.name}_names[] = {{\n{values}\n}};\n"


def enums_of(structs: list) -> list:
    found = {}
    for struct in structs:
        for f in struct.fields:
            if f.enum:
                found[f.enum.name] = f.enum
    return [found[name] for name in sorted(found)]


def in_order(structs: dict) -> list:
    """Structs so that each stands behind those it holds."""
    done, result = set(), []

    def visit(struct: Struct) -> None:
        if struct.name in done:
            return
        done.add(struct.name)
        for f in struct.fields:
            ref = f.struct or (f.item.struct if f.item else "")
            if ref:
                visit(structs[ref])
        result.append(struct)

    for struct in structs.values():
        visit(struct)
    return result


# --- types and domain files ------------------------------------------------------------------------------------------


def type_definition(message: Message, number: str) -> str:
    name = message.c_name
    key = f'"{message.key}"' if message.key else "NULL"
    ce_type = f"{message.type}.state" if message.kind == "state" else message.ce_type
    return f"""static void pack_{name}(const void *value, struct tw_buf *out)
{{
    tw_codec_pack(&tw_{name}_layout, value, out);
}}

static enum tw_rc unpack_{name}(struct tw_str bytes, struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{{
    return tw_codec_unpack(&tw_{name}_layout, bytes, arena, ret_value, reterr);
}}

static void copy_{name}(const void *from, struct tw_arena *arena, void *ret_to)
{{
    tw_codec_copy(&tw_{name}_layout, from, arena, ret_to);
}}

const struct tw_type tw_{name}_type = {{
    .name = "{message.type}",
    .ce_type = "{ce_type}",
    .key = {key},
    .version = {message.version},
    .number = {number},
    .quiet = {'true' if message.quiet else 'false'},
    .internal = {'true' if message.internal else 'false'},
    .size = sizeof(struct tw_{name}),
    .layout = &tw_{name}_layout,
    .pack = pack_{name},
    .unpack = unpack_{name},
    .copy = copy_{name},
}};
"""


def number_constant(message: Message) -> str:
    name = message.c_name.upper()
    if message.kind == "command":
        return f"TW_{name}"
    if message.kind == "event":
        prefix = message.domain.upper()
        rest = name[len(prefix) + 1:] if message.domain != "shared" else name
        return f"TW_{prefix}_EVENT_{rest}"
    return "0"


def number_enum(domain: str, kind: str, messages: list) -> str:
    values = "\n".join(f"    {number_constant(m)}, /**< {m.ce_type} */" for m in messages)
    return f"enum tw_{domain}_{kind} {{\n{values}\n}};\n" if messages else ""


def list_declarations(domain: str, kind: str) -> str:
    return (f"/** Every released {kind} version, by number. */\n"
            f"extern const struct tw_type *const tw_{domain}_{kind}s[];\n"
            f"extern const size_t tw_{domain}_{kind}_count;\n")


def list_definitions(domain: str, kind: str, messages: list) -> str:
    rows = "\n".join(f"    [{number_constant(m)}] = &tw_{m.c_name}_type," for m in messages) or "    NULL,"
    return (f"const struct tw_type *const tw_{domain}_{kind}s[] = {{\n{rows}\n}};\n"
            f"const size_t tw_{domain}_{kind}_count = {len(messages)};\n")


def message_note(message: Message) -> str:
    if message.kind == "state":
        return " Zeroed: it does not exist."
    return f" `{message.ce_type}`, since {message.since}."


def domain_header(model: Model, domain: str) -> str:
    guard = f"TILLWIRE_GEN_{domain.upper()}_MESSAGES_H"
    parts = [NOTICE, f"/** The {domain} domain's commands, events and states as C structs, with their codecs. */\n"
             f"#ifndef {guard}\n#define {guard}\n\n#include \"tillwire/codec.h\"\n#include \"tillwire/type.h\"\n"]
    parts += [enum_definition(e) for e in model.enums.values() if e.domain == domain]
    for kind in ("command", "event"):
        parts.append(number_enum(domain, kind, model.of(kind, domain)))
    for message in model.messages:
        if message.domain == domain:
            parts += [struct_definition(s) for s in in_order(message.structs)]
            parts.append(struct_definition(message.struct, message_note(message)))
            parts.append(f"extern const struct tw_type tw_{message.c_name}_type;\n"
                         f"extern const struct tw_layout tw_{message.c_name}_layout;\n")
    parts += [list_declarations(domain, kind) for kind in ("command", "event")]
    return "\n".join(p for p in parts if p) + "\n#endif\n"


def domain_source(model: Model, domain: str) -> str:
    messages = [m for m in model.messages if m.domain == domain]
    parts = [NOTICE, f'#include "tillwire/gen/{domain}_messages.h"\n']
    structs = [s for m in messages for s in (m.struct, *m.structs.values())]
    enums = enums_of(structs)
    parts += [enum_names(e) for e in enums]
    parts += [f"_Static_assert(sizeof(enum tw_{e.name}) == 4, \"the codec reads enums as 32 bits\");\n" for e in enums]
    for message in messages:
        parts += [layout_table(s, message.structs) for s in in_order(message.structs)]
        parts.append(layout_table(message.struct, message.structs, public=True))
        parts.append(type_definition(message, number_constant(message)))
    parts += [list_definitions(domain, kind, model.of(kind, domain)) for kind in ("command", "event")]
    return "\n".join(parts)
