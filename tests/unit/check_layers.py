"""Includes point one way, and every public header can be read alone.

Called with the source and the build folder. Prints each violation; exit code 1 when there is one.
"""
import pathlib
import re
import subprocess
import sys

VENDORS = ("librdkafka/", "libpq", "postgres", "mongoc", "bson", "hiredis", "jansson", "civetweb", "jwt", "sodium", "msgpack",
           "idn2", "uni", "openssl")
# What a pure domain may take from the C library: nothing that knows the time, the environment, chance or files.
PURE = {"assert.h", "inttypes.h", "limits.h", "stdbool.h", "stddef.h", "stdint.h", "string.h"}


def includes(path: pathlib.Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', path.read_text(), re.M)


def is_vendor(name: str) -> bool:
    return not name.startswith("tillwire/") and (name.startswith(VENDORS) and name != "unistd.h")


def check_contracts(source: pathlib.Path) -> list[str]:
    return [f"{path.relative_to(source)}: a contract shows '{name}'"
            for path in (source / "include").rglob("*.h") for name in includes(path)
            if is_vendor(name) or ("." in name and "/" not in name and (source / "lib" / name).exists())]


def domain_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """<worker>_domain.[ch], what its files share (<worker>_rules.h), and the files that take part in that."""
    rules = folder / f"{folder.name}_rules.h"
    parts = [path for path in folder.glob("*.c") if rules.name in includes(path)]
    return sorted({*folder.glob("*_domain.[ch]"), *folder.glob(rules.name), *parts})


def check_domains(source: pathlib.Path) -> list[str]:
    wrong = []
    for folder in (path for path in (source / "workers").iterdir() if path.is_dir()):
        files = domain_files(folder)
        own = {path.name for path in files if path.suffix == ".h"}
        for path in files:
            for name in includes(path):
                if not (name.startswith("tillwire/") or name in own or name in PURE):
                    wrong.append(f"{path.relative_to(source)}: a domain is pure, but includes '{name}'")
    return wrong


def check_direction(source: pathlib.Path) -> list[str]:
    """lib/ knows nobody; the runtime knows no domain and no store; workers and edge do not know each other."""
    owners = {path.name: path.parent.relative_to(source).as_posix()
              for folder in ("workers", "api-edge") for path in (source / folder).rglob("*.h")}
    wrong = []
    for folder in ("lib", "workers", "api-edge"):
        for path in (source / folder).rglob("*.[ch]"):
            here = path.parent.relative_to(source).as_posix()
            for name in includes(path):
                owner = owners.get(pathlib.PurePath(name).name) if not name.startswith(("tillwire/", "sys/")) else None
                if owner and not may_see(here, owner):
                    wrong.append(f"{path.relative_to(source)}: '{here}' must not see '{owner}' ('{name}')")
    return wrong


def may_see(here: str, owner: str) -> bool:
    if here.startswith("api-edge"):
        return owner.startswith("api-edge")
    if here == "workers/twctl":
        return owner in ("workers/twctl", "workers/runtime", "api-edge/auth") or owner.startswith("workers/")
    if here == "workers/replay":
        return owner.startswith("workers/")
    if here in ("workers/member", "workers/product", "workers/cart"):
        return owner in (here, "workers/runtime")
    return owner == here


def check_alone(source: pathlib.Path, build: pathlib.Path) -> list[str]:
    wrong = []
    for path in sorted((source / "include").rglob("*.h")):
        done = subprocess.run(["cc", "-std=c17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
                               f"-I{source}/include", f"-I{build}/gen", "-x", "c", "-"],
                              input=f'#include "{path.relative_to(source / "include")}"\nint main(void) {{ return 0; }}\n',
                              capture_output=True, text=True, check=False)
        if done.returncode:
            wrong.append(f"{path.relative_to(source)} does not compile alone: {done.stderr.splitlines()[0]}")
    return wrong


def main() -> int:
    source, build = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    wrong = check_contracts(source) + check_domains(source) + check_direction(source) + check_alone(source, build)
    print("\n".join(wrong) or "layers: includes point one way, every contract compiles alone")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
