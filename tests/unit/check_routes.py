"""The edge and its document know the same routes and the same problems: every row of the route tables is in http.json
with who may call it, every route of http.json is a row, and the codes, statuses and titles are those of outcome.h."""
import json
import pathlib
import re
import sys

ROW = r'\{TW_METHOD_(\w+),\s*"([^"]+)",\s*TW_ACCESS_(\w+),\s*(?:NULL|"([^"]*)"),\s*\w+'
ACCESS = {"public": ("PUBLIC", ""), "optional": ("OPTIONAL", ""), "caller": ("OPTIONAL", ""), "member": ("BEARER", "")}


def rows(source):
    """(method, path) -> (access, scope) of the public port."""
    found = {}
    for path in sorted((source / "api-edge/routes").glob("*.c")):
        if path.name == "admin.c":  # another port, for operators' tools
            continue
        for method, pattern, access, scope in re.findall(ROW, path.read_text()):
            found[method, pattern] = (access, scope)
    assert len(found) > 40, "the pattern of a row has changed"
    return found


def described(http):
    return {(r["method"], r["path"]): ACCESS.get(r["auth"], ("BEARER", r["auth"])) for r in http["routes"]}


def route_complaints(rows_, routes):
    for where in sorted(rows_.keys() - routes.keys()):
        yield f"{' '.join(where)} is a row of api-edge/routes and not in schemas/http.json"
    for where in sorted(routes.keys() - rows_.keys()):
        yield f"{' '.join(where)} is in schemas/http.json and no row of api-edge/routes"
    for where in sorted(rows_.keys() & routes.keys()):
        if rows_[where] != routes[where]:
            yield f"{' '.join(where)}: the row says {rows_[where]}, http.json {routes[where]}"


def problems(source):
    text = (source / "include/tillwire/outcome.h").read_text()
    body = re.search(r"#define TW_PROBLEM_MAP\(X\)(.*?)\n\n", text, re.S)[1]
    found = {code: (int(status), title) for code, status, title in re.findall(r'"([a-z-]+)",\s*(\d+),\s*"([^"]+)"\)', body)}
    assert len(found) > 25, "the pattern of a problem has changed"
    return found


def problem_complaints(known, http):
    told = {code: (problem["status"], problem["title"]) for code, problem in http["problems"].items()}
    for code in sorted(known.keys() | told.keys()):
        if known.get(code) != told.get(code):
            yield f"problem {code}: outcome.h says {known.get(code)}, http.json {told.get(code)}"


def main(source):
    http = json.loads((source / "schemas/http.json").read_text(encoding="utf-8"))
    complaints = [*route_complaints(rows(source), described(http)), *problem_complaints(problems(source), http)]
    print(*complaints, sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
