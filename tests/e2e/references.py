"""JSON documents that refer to parts of themselves, as OpenAPI and AsyncAPI do."""

from typing import Any

Node = dict[str, Any]


class Referring:
    document: Node

    def resolve(self, node: Node) -> Node:
        target: Any = self.document
        if "$ref" not in node:
            return node
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return dict(target)
