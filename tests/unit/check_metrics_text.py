"""Reads the page `test_metrics print` shows as strictly as Prometheus' text format 0.0.4 is written down, and compares
the names in the sources with docs/metrics.md. check_programs.py compares what programs serve."""
import pathlib
import re
import subprocess
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"^({NAME})(?:\{{(.*)\}})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def labels_of(text):
    labels, at = {}, 0
    while text is not None and at < len(text):
        match = LABEL.match(text, at)
        assert match, f"labels {text!r}"
        assert match[1] not in labels, f"label {match[1]} twice"
        labels[match[1]] = match[2]
        at = match.end()
    return labels


def parse(page):
    """name -> (type, [(sample name, labels, value)]); each name's lines must stand together, HELP and TYPE first."""
    assert page.endswith("\n"), "the last line has no end"
    families, current = {}, None
    for line in page.splitlines():
        if line.startswith("# HELP "):
            current, help_text = line[7:].split(" ", 1)
            assert re.fullmatch(NAME, current) and current not in families, f"{current}: HELP twice or bad name"
            assert not re.search(r"\\[^\\n]|\\$", help_text.replace("\\\\", "")), f"HELP of {current} is not escaped"
            families[current] = [None, []]
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == current and families[name] == [None, []], f"TYPE of {name} stands wrong"
            assert kind in ("counter", "gauge", "histogram"), kind
            families[name][0] = kind
        else:
            match = SAMPLE.match(line)
            assert match, f"not a sample: {line!r}"
            kind, samples = families[current]
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            assert match[1] in [current + suffix for suffix in suffixes], f"{match[1]} stands under {current}"
            sample = (match[1], labels_of(match[2]), float(match[3]))
            assert sample[:2] not in [s[:2] for s in samples], f"{line!r} twice"
            samples.append(sample)
    return families


def check_histogram(name, samples):
    series = {}
    for sample, labels, value in samples:
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        kind = sample[len(name):]
        series.setdefault(key, {"_bucket": [], "_sum": None, "_count": None})
        if kind == "_bucket":
            series[key]["_bucket"].append((float(labels["le"].replace("+Inf", "inf")), value))
        else:
            series[key][kind] = value
    for parts in series.values():
        bounds = [bound for bound, _ in parts["_bucket"]]
        counts = [count for _, count in parts["_bucket"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), f"{name}: bounds {bounds}"
        assert counts == sorted(counts) and counts[-1] == parts["_count"], f"{name}: counts {counts}"
        assert parts["_sum"] is not None, f"{name}: no sum"


def main(source, build):
    rows, names = set(documented(source)), named_in_sources(source)
    assert names == rows, f"only in the sources: {names - rows}; only in docs/metrics.md: {rows - names}"
    page = subprocess.run([f"{build}/bin/test_metrics", "print"], check=True, capture_output=True, text=True).stdout
    families = parse_and_check(page)
    expected = {"tillwire_records_total", "tillwire_commit_seconds", "process_resident_memory_bytes",
                "process_open_fds", "process_threads", "process_cpu_seconds_total", "process_start_time_seconds"}
    assert expected <= set(families), expected - set(families)
    print(f"{len(families)} metrics, {sum(len(s) for _, s in families.values())} samples")


def documented(source):
    """The rows of docs/metrics.md: name -> (type, program, is there from the start, help)."""
    text = (source / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (yes|no) \| (.*) \|$", text, re.M)
    assert len(rows) == len({row[0] for row in rows}), "a metric stands twice in docs/metrics.md"
    return {name: (kind, program, start == "yes", text) for name, kind, program, start, text in rows}


def named_in_sources(source):
    names = set()
    for file in [*source.glob("lib/*.c"), *source.glob("api-edge/**/*.c"), *source.glob("workers/**/*.c")]:
        names |= set(re.findall(r'\.name\s*=\s*"((?:tillwire|http|messaging|db)_\w+)"|"(process_\w+)"', file.read_text()))
    return {name for pair in names for name in pair if name}


def heads(page):
    """name -> (type, help) of a page."""
    return {name: (kind, text) for name, text, kind in
            re.findall(r"^# HELP (\w+) (.*)\n# TYPE \1 (\w+)$", page, re.M)}


def check_page(source, page, is_edge, is_fresh):
    """A page a program served: all of it is documented, and what is documented to be there from the start is there."""
    parse_and_check(page)
    served, rows = heads(page), documented(source)
    for name, (kind, text) in served.items():
        assert name in rows, f"{name} is served and not in docs/metrics.md"
        assert rows[name][1] in ("all", "edge" if is_edge else "worker"), f"{name}: docs/metrics.md has another program"
        assert (kind, text) == (rows[name][0], rows[name][3]), f"{name}: {kind}, {text!r} is not what docs/metrics.md says"
    missing = {name for name, (_, program, start, _) in rows.items()
               if start and program in ("all", "edge" if is_edge else "worker")} - set(served)
    assert not missing or not is_fresh, f"docs/metrics.md says they are there from the start: {missing}"


def parse_and_check(page):
    families = parse(page)
    for name, (kind, samples) in families.items():
        assert kind and samples, f"{name} is empty"
        if kind == "counter":
            assert name.endswith("_total") and all(value >= 0 for _, _, value in samples), name
        if kind == "histogram":
            check_histogram(name, samples)
    return families


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
