"""confined.py COMMAND...: runs it with the system calls that docker/systemd leaves our programs, as systemd would: those
of SystemCallFilter=, no memory that is both written and executed, sockets of RestrictAddressFamilies= only. There a call
that is not allowed fails; here it ends the process with SIGSYS, so that none goes unnoticed."""

import ctypes
import errno
import os
import pathlib
import re
import socket
import subprocess
import sys

UNIT = pathlib.Path(__file__).resolve().parents[2] / "docker/systemd/tillwire-.service.d/10-shared.conf"
KILL_PROCESS, ALLOW, ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
EQUAL, MASKED_EQUAL, NOT_EQUAL = 4, 7, 1
WRITE, EXECUTE = 2, 4
NO_NEW_PRIVILEGES = 38


class Compare(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def lines_of(setting: str) -> list[str]:
    return re.findall(rf"^{setting}=(.*)$", UNIT.read_text(encoding="utf-8"), re.M)


def expand(name: str) -> set[str]:
    """A set of systemd's, or one call."""
    if not name.startswith("@"):
        return {name}
    text = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in text.splitlines()[1:] if line.strip() and "#" not in line]
    return set().union(*(expand(word) for word in words))


def allowed_calls() -> set[str]:
    """systemd always allows @default, too."""
    calls = expand("@default")
    for line in lines_of("SystemCallFilter"):
        named = set().union(*(expand(word) for word in line.removeprefix("~").split()))
        calls = calls - named if line.startswith("~") else calls | named
    return calls | expand("@default")


class Filter:
    def __init__(self) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._filter = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))

    def rule(self, action: int, call: str, *compares: Compare) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # another machine's
            return
        array = (Compare * len(compares))(*compares)
        rc = self._library.seccomp_rule_add_array(self._filter, ctypes.c_uint32(action), number, len(compares), array)
        assert rc == 0, f"{call}: {os.strerror(-rc)}"

    def load(self) -> None:
        assert ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
        assert self._library.seccomp_load(self._filter) == 0


def confine() -> None:
    calls = allowed_calls()
    families = {int(getattr(socket, name)) for line in lines_of("RestrictAddressFamilies") for name in line.split()}
    confined = Filter()
    for call in sorted(calls - {"mmap", "mprotect", "socket"}):
        confined.rule(ALLOW, call)
    assert lines_of("MemoryDenyWriteExecute") == ["yes"]
    for protection in range(8):  # what is not named ends the process
        if protection & (WRITE | EXECUTE) != WRITE | EXECUTE:
            confined.rule(ALLOW, "mmap", Compare(2, MASKED_EQUAL, 7, protection))
        if not protection & EXECUTE:
            confined.rule(ALLOW, "mprotect", Compare(2, MASKED_EQUAL, 7, protection))
    for family in range(64):
        action = ALLOW if family in families else ERRNO | errno.EAFNOSUPPORT  # which libraries take for "not here"
        confined.rule(action, "socket", Compare(0, EQUAL, family, 0))
    confined.load()


if __name__ == "__main__":
    confine()
    os.execv(sys.argv[1], sys.argv[1:])
