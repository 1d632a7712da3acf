"""Ids and partitions as design.md states them, written a second time: what the C code does is not looked at here."""

import hashlib
import hmac
import struct
import unicodedata
import uuid

import idna

PRODUCT_MARK = bytes([0x8C, 0xA7, 0xA1, 0x09])
DOMAINS = {"member": 1, "product": 2, "cart": 3}


def _version_8(digest: bytes) -> uuid.UUID:
    """The first 16 bytes with version 8 and the RFC 9562 variant put in."""
    b = bytearray(digest[:16])
    b[6] = (b[6] & 0x0F) | 0x80
    b[8] = (b[8] & 0x3F) | 0x80
    return uuid.UUID(bytes=bytes(b))


def product_object_id(sku: str) -> bytes:
    return hashlib.sha256(b"tillwire/product/v1\0" + sku.encode()).digest()[:12]


def product_id(sku: str) -> str:
    return product_id_of(product_object_id(sku))


def product_id_of(object_id: bytes) -> str:
    return str(uuid.UUID(bytes=object_id[:6] + PRODUCT_MARK + object_id[6:]))


def object_id_of(product: str) -> bytes:
    b = uuid.UUID(product).bytes
    return b[:6] + b[10:]


def fold_email(typed: str) -> str:
    local, _, domain = unicodedata.normalize("NFC", typed.strip()).rpartition("@")
    ascii_domain = idna.encode(domain, uts46=True, transitional=False).decode()
    return f"{local.lower()}@{ascii_domain}".lower()


def member_id(id_key: bytes, typed_email: str) -> str:
    return member_id_of_folded(id_key, fold_email(typed_email))


def member_id_of_folded(id_key: bytes, folded: str) -> str:
    return str(_version_8(hmac.digest(id_key, b"tillwire/member/v1\0" + folded.encode(), "sha256")))


def derived_id(command_id: str, owner: str, tag: str) -> str:
    parts = b"tillwire/derived/v1" + tag.encode() + uuid.UUID(command_id).bytes + uuid.UUID(owner).bytes
    return str(_version_8(hashlib.sha256(parts).digest()))


# --- command ids


def command_domain(command_id: str) -> int:
    return (uuid.UUID(command_id).time_hi_version >> 10) & 3


def command_partition(command_id: str) -> int:
    return uuid.UUID(command_id).time_hi_version & 0x3FF


def some_command_id(made_ms: int, domain: str, partition: int = 0) -> str:
    """Of a command without a key: UUIDv7."""
    b = bytearray(made_ms.to_bytes(6, "big") + uuid.uuid4().bytes[6:])
    b[6:8] = (0x7000 | DOMAINS[domain] << 10 | partition).to_bytes(2, "big")
    return str(uuid.UUID(bytes=bytes(b)))


def is_keyed(command_id: str) -> bool:
    return uuid.UUID(command_id).version == 8


def ledger_id(command_id: str) -> str:
    """The command id without its partition bits: one request is one row, wherever its record went first."""
    b = bytearray(uuid.UUID(command_id).bytes)
    b[6] &= 0xFC
    b[7] = 0
    return str(uuid.UUID(bytes=bytes(b)))


# --- partitions


def murmur2(data: bytes) -> int:
    """Kafka's murmur2 (org.apache.kafka.common.utils.Utils), 32 bits."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        k = k * m & mask
        k ^= k >> 24
        h = (h * m & mask) ^ (k * m & mask)
    tail = data[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h ^= h >> 13
    h = h * m & mask
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % partitions
