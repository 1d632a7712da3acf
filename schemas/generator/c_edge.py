"""C that only the edge or the tools need: bodies, topics, embedded documents."""

from .c_structs import NOTICE, c_string, enum_names, enums_of, layout_table, struct_definition
from .model import Model

TOPIC_KINDS = ("commands", "events", "dlq")


def bodies_of(model: Model) -> list:
    return [m for m in model.messages if m.body]


def bodies_header(model: Model) -> str:
    used = {f.enum.domain for m in bodies_of(model) for f in m.body.fields if f.enum}
    includes = "".join(f'#include "tillwire/gen/{d}_messages.h"\n' for d in sorted(used))
    parts = [NOTICE, "/** HTTP request bodies and how they are read from JSON. Routes copy their members into commands. */\n"
             "#ifndef TILLWIRE_GEN_BODIES_H\n#define TILLWIRE_GEN_BODIES_H\n\n"
             "#include \"tillwire/body.h\"\n" + includes]
    for message in bodies_of(model):
        name = message.body.name
        parts.append(struct_definition(message.body))
        parts.append("/** INVALID: @p ret_errors has everything that is wrong. See tw_body_read(). */\n"
                     f"enum tw_rc tw_{name}_from_json(const struct json_t *body, struct tw_arena *arena,\n"
                     f"    struct tw_{name} *ret_body, struct tw_field_errors *ret_errors);\n")
    return "\n".join(parts) + "\n#endif\n"


def bodies_source(model: Model) -> str:
    bodies = [m.body for m in bodies_of(model)]
    parts = [NOTICE, '#include "tillwire/gen/bodies.h"\n']
    parts += [enum_names(e) for e in enums_of(bodies)]
    for body in bodies:
        parts.append(layout_table(body, {}))
        parts.append(f"enum tw_rc tw_{body.name}_from_json(const struct json_t *body, struct tw_arena *arena,\n"
                     f"    struct tw_{body.name} *ret_body, struct tw_field_errors *ret_errors)\n{{\n"
                     f"    return tw_body_read(&{body.name}_layout, body, arena, ret_body, ret_errors);\n}}\n")
    return "\n".join(parts)


# --- topics ----------------------------------------------------------------------------------------------------------


def topics_header() -> str:
    return NOTICE + """
/** The topic manifest: every topic there is, with its partition count and the settings tillwire relies on. */
#ifndef TILLWIRE_GEN_TOPICS_H
#define TILLWIRE_GEN_TOPICS_H

#include "tillwire/uuid.h"

enum tw_topic_kind { TW_TOPIC_COMMANDS, TW_TOPIC_EVENTS, TW_TOPIC_DLQ };

struct tw_topic_config {
    const char *name; /**< "retention.ms" */
    const char *value;
};

struct tw_topic {
    const char                   *name; /**< "cart.commands" */
    enum tw_domain_number         domain;
    enum tw_topic_kind            kind;
    int32_t                       partitions; /**< pinned: equal for the three topics of a domain */
    const struct tw_topic_config *configs;
    size_t                        config_count;
};

/** Domains in the order of enum tw_domain_number, kinds in the order of enum tw_topic_kind. */
extern const struct tw_topic tw_topics[];
extern const size_t          tw_topic_count;

/** NULL when there is no such topic. */
const struct tw_topic *tw_topic_of(enum tw_domain_number domain, enum tw_topic_kind kind);

#endif
"""


def topic_rows(model: Model) -> list:
    rows = []
    for domain in ("member", "product", "cart"):
        for kind in TOPIC_KINDS:
            rows.append(f'    {{"{domain}.{kind}", TW_DOMAIN_{domain.upper()}, TW_TOPIC_{kind.upper()}, '
                        f'{model.topics["domains"][domain]["partitions"]}, {kind}_configs, TW_LEN({kind}_configs)}},')
    return rows


def topics_source(model: Model) -> str:
    parts = [NOTICE, '#include "tillwire/gen/topics.h"\n']
    for kind in TOPIC_KINDS:
        configs = model.topics["kinds"][kind]["configs"]
        rows = "\n".join(f'    {{"{name}", "{value}"}},' for name, value in configs.items())
        parts.append(f"static const struct tw_topic_config {kind}_configs[] = {{\n{rows}\n}};\n")
    parts.append("const struct tw_topic tw_topics[] = {\n" + "\n".join(topic_rows(model)) + "\n};\n"
                 "const size_t tw_topic_count = TW_LEN(tw_topics);\n")
    parts.append("""const struct tw_topic *tw_topic_of(enum tw_domain_number domain, enum tw_topic_kind kind)
{
    for (size_t i = 0; i < TW_LEN(tw_topics); i++)
        if (tw_topics[i].domain == domain && tw_topics[i].kind == kind)
            return &tw_topics[i];
    return NULL;
}
""")
    return "\n".join(parts)


# --- documents -------------------------------------------------------------------------------------------------------


def documents_header() -> str:
    return NOTICE + """
/** The documents the edge serves as they are: two JSON texts, a page, and the page's Content-Security-Policy. */
#ifndef TILLWIRE_GEN_DOCUMENTS_H
#define TILLWIRE_GEN_DOCUMENTS_H

#include "tillwire/str.h"

extern const struct tw_str tw_openapi_json;
extern const struct tw_str tw_asyncapi_json;
extern const struct tw_str tw_docs_html;
extern const struct tw_str tw_docs_policy;

#endif
"""


def literal_lines(text: str) -> str:
    """The text as short literals side by side: they concatenate, and lines stay readable."""
    return "\n".join("    " + c_string(text[i:i + 100]) for i in range(0, len(text), 100))


def documents_source(texts: dict) -> str:
    """@texts: what follows tw_ in the name -> text."""
    parts = [NOTICE, '#include "tillwire/gen/documents.h"\n']
    for name, text in texts.items():
        parts.append(f"static const char {name}[] =\n{literal_lines(text)};\n"
                     f"const struct tw_str tw_{name} = {{{name}, sizeof({name}) - 1}};\n")
    return "\n".join(parts)
