"""A decision cannot cheat: nothing a domain can reach knows the time, chance, the environment, a locale, files or a
vendor.

Called with the source and the build folder. Each domain is linked with what it takes from lib/, function by function,
and with nothing else. What is then still missing is what it asks the outside for, and must be on a short list; what it
keeps in memory from one call to the next must be nothing; and the compiler must not need one floating-point register.
"""
import functools
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
BUILD = pathlib.Path(sys.argv[2]).resolve()
DOMAINS = ("member", "product", "cart")
CORE = "tw_core"
# Small steps, so that what nobody calls falls away. Without floating point: neither decisions nor text depend on it.
COMPILE = ("-std=c17", "-D_GNU_SOURCE", '-DTW_VERSION="0"', "-O1", "-fPIC", "-ffunction-sections", "-fdata-sections",
           "-mgeneral-regs-only", f"-I{SOURCE}/include", f"-I{BUILD}/gen")
# lib/log.c is left out: the only way to it is the last line of a program that has no memory.
NOT_LINKED = {"log"}

# Bytes in, bytes out; and assert(), which ends the program.
ANYBODY = {"memchr", "memcmp", "memcpy", "memmove", "mempcpy", "memset", "strchr", "strlen", "__assert_fail"}
# What stands in for the store during a turn: include/tillwire/domain.h.
TURN = {"tw_state", "tw_state_change", "tw_emit", "tw_emit_coalesced", "tw_tell_coalesced", "tw_finish"}
# Of lib/ only: the way a program without memory ends, whole numbers and text put together, and the hashes that ids
# follow from (SHA-256 and HMAC-SHA-256 of natural keys and commands: the same bytes everywhere).
LIB = {"malloc", "realloc", "free", "abort", "_exit", "tw_log_write", "snprintf", "vsnprintf", "sodium_init",
       *(f"crypto_{hash}_{step}" for hash in ("hash_sha256", "auth_hmacsha256")
         for step in ("init", "update", "final"))}


def run(*words: object) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{shlex.join(map(str, words))}: {done.stderr}")
    return done.stdout


@functools.cache
def sources_of(target: str) -> list[pathlib.Path]:
    """What CMake compiles for a target."""
    units = json.loads((BUILD / "compile_commands.json").read_text())
    return [pathlib.Path(unit["file"]) for unit in units if f"/{target}.dir/" in unit["command"]]


def compiled(source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    out = folder / f"{source.stem}.o"
    own = [f"-I{path}" for path in (SOURCE / "workers").iterdir() if (path / source.name).exists()]
    run("cc", *COMPILE, *own, "-c", source, "-o", out)
    return out


def with_planted(source: pathlib.Path, planted: str, folder: pathlib.Path) -> pathlib.Path:
    """The same with a line more at the beginning of decide()."""
    headers = ("stdio.h", "stdlib.h", "time.h", "tillwire/clock.h", "tillwire/log.h")
    text, count = re.subn(r"(static struct tw_outcome decide\([^)]*\)\s*\{)", rf"\1{planted}", source.read_text())
    if count != 1:
        raise AssertionError(f"{source} has another decide() than this check knows")
    copy = folder / source.name
    copy.write_text("".join(f"#include <{name}>\n" for name in headers) + text)
    return copy


@functools.cache
def undefined_in(binary: pathlib.Path, *options: str) -> set[str]:
    return {line.split()[-1].partition("@")[0] for line in run("nm", *options, "--undefined-only", binary).splitlines()
            if line.strip() and not line.endswith(":")}


class Linked:
    """A domain with all that can be reached from its `struct tw_domain`."""

    def __init__(self, name: str, core: list[pathlib.Path], own: list[pathlib.Path], folder: pathlib.Path) -> None:
        self.own, self.lib = own, [path for path in core if path.stem not in NOT_LINKED]
        exports = folder / f"{name}.exports"
        exports.write_text(f"{{ global: tw_{name}_domain; local: *; }};\n")
        archive = folder / f"{name}.a"
        run("ar", "rc", archive, *self.lib)
        self.binary = folder / f"{name}.so"
        run("cc", "-shared", "-nostartfiles", *own, archive, "-Wl,--gc-sections", f"-Wl,--version-script={exports}",
            "-o", self.binary)

    def impure(self) -> list[str]:
        """What is asked for from outside and must not be, and by which files."""
        asked = undefined_in(self.binary, "-D")
        by_own = set().union(*(undefined_in(path) for path in self.own))
        wrong = asked - ANYBODY - TURN - (LIB - by_own)
        return sorted(f"'{symbol}', which is in {', '.join(self.files_with(symbol))}" for symbol in wrong)

    def files_with(self, symbol: str) -> list[str]:
        return sorted(path.name for path in (*self.own, *self.lib) if symbol in undefined_in(path))

    def remembered(self) -> list[str]:
        """Variables that live from one call to the next."""
        return re.findall(r" O \.(?:data|bss)\s+\S+\s+(?:\.hidden )?(\S+)$", run("objdump", "-t", self.binary), re.M)


class Pure(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.core = [compiled(path, cls.folder) for path in sources_of(CORE)]

    def link(self, name: str, planted: str = "") -> Linked:
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        sources = sources_of(f"tw_{name}_domain")
        own = [compiled(with_planted(path, planted, folder) if planted else path, folder) for path in sources]
        return Linked(name, self.core, own, folder)

    def test_a_domain_asks_the_outside_for_nothing_but_bytes(self) -> None:
        for name in DOMAINS:
            with self.subTest(name):
                self.assertEqual(self.link(name).impure(), [])

    def test_a_domain_remembers_nothing(self) -> None:
        for name in DOMAINS:
            with self.subTest(name):
                self.assertEqual(self.link(name).remembered(), [])

    def test_this_check_sees_what_cheats(self) -> None:
        cases = {
            "time": "time(NULL)", "clock_gettime": "tw_now_ms()", "getenv": 'getenv("TZ")', "rand": "rand()",
            "strtol": 'strtol("1", NULL, 10)', "snprintf": 'volatile int n = snprintf(NULL, 0, "%d", rand())',
            "open": 'fopen("x", "r")', "randombytes_buf": "tw_command_id_new(1, TW_DOMAIN_CART, 1)",
            "tw_log_write": 'tw_log(TW_LOG_INFO, "x")',
        }
        found = self.link("cart", "".join(f"{call};" for call in cases.values())).impure()
        for symbol in cases:
            with self.subTest(symbol):
                self.assertTrue(any(f"{symbol}'" in sentence for sentence in found), found)

    def test_this_check_sees_what_remembers(self) -> None:
        self.assertEqual(self.link("cart", "static volatile int seen; seen++;").remembered()[0][:4], "seen")

    def test_this_check_sees_floating_point(self) -> None:
        with self.assertRaisesRegex(AssertionError, "general|SSE|float"):
            self.link("cart", "volatile double half = 0.5; half *= 3;")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
