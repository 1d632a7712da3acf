"""argon2id hashes as an earlier release might have made them: weaker than those of today. libsodium itself makes them,
so they are in the form that the edge reads."""

import ctypes
import ctypes.util

WEAK_OPERATIONS = 1
WEAK_BYTES = 8192
HASH_BYTES = 128


def weak_hash(password: str) -> str:
    sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
    out = ctypes.create_string_buffer(HASH_BYTES)
    text = password.encode()
    assert sodium.sodium_init() >= 0
    failed = sodium.crypto_pwhash_str(
        out, text, ctypes.c_ulonglong(len(text)), ctypes.c_ulonglong(WEAK_OPERATIONS), ctypes.c_size_t(WEAK_BYTES)
    )
    assert failed == 0
    return out.value.decode()
