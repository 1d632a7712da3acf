#!/usr/bin/env python3
"""schemas/ -> C structs, codecs, topic manifest, AsyncAPI, OpenAPI, reference. Standard library only.

    generate.py --out DIR     write DIR/tillwire/gen/*.[ch] and DIR/docs/*; files that did not change keep their time
    generate.py --check       compare with released.json: a released version may only gain optional fields
    generate.py --release     add what is there now to released.json (when a version is tagged)

See README.md for the format of a schema.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from generator import asyncapi, c_edge, c_structs, openapi, page, reference, release  # noqa: E402
from generator.model import DOMAINS, Model, SchemaError, check_topics, load  # noqa: E402


def outputs(model: Model) -> dict:
    """File name below the output folder -> text."""
    http, messages = openapi.openapi(model), asyncapi.asyncapi(model)
    people = page.page(http, messages)
    files = {"docs/openapi.json": http, "docs/asyncapi.json": messages, "docs/docs.html": people,
             "docs/messages.md": reference.reference(model)}
    code = {
        "bodies.h": c_edge.bodies_header(model), "bodies.c": c_edge.bodies_source(model),
        "topics.h": c_edge.topics_header(), "topics.c": c_edge.topics_source(model),
        "documents.h": c_edge.documents_header(), "documents.c": c_edge.documents_source({
            "openapi_json": http, "asyncapi_json": messages, "docs_html": people, "docs_policy": page.policy()}),
    }
    for domain in DOMAINS:
        code[f"{domain}_messages.h"] = c_structs.domain_header(model, domain)
        code[f"{domain}_messages.c"] = c_structs.domain_source(model, domain)
    files.update({f"tillwire/gen/{name}": text for name, text in code.items()})
    return files


def write_changed(folder: Path, files: dict) -> int:
    changed = 0
    for name, text in sorted(files.items()):
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        changed += 1
    return changed


def with_partitions(model: Model, count: int) -> Model:
    domains = {name: {**settings, "partitions": count} for name, settings in model.topics["domains"].items()}
    topics = {**model.topics, "domains": domains}
    check_topics(topics, "--partitions")
    return replace(model, topics=topics)


def main(arguments: list) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", type=Path, default=Path(__file__).resolve().parent, help="folder to read")
    parser.add_argument("--out", type=Path, help="folder to write to")
    parser.add_argument("--partitions", type=int, help="of every topic instead of the manifest's: for benches only, "
                        "since partition counts are part of the data")
    parser.add_argument("--check", action="store_true", help="refuse changes of released messages")
    parser.add_argument("--release", action="store_true", help="add the present messages to released.json")
    options = parser.parse_args(arguments)
    try:
        model = load(options.schemas)
        if options.partitions is not None:
            model = with_partitions(model, options.partitions)
        if options.check or options.release:
            release.check(model)
        if options.release:
            release.check_recorded(model)
            release.write(model)
        if options.out:
            write_changed(options.out, outputs(model))
    except SchemaError as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
