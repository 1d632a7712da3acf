"""The second implementation of ids against values from elsewhere: else both could be wrong alike."""

import ids


def test_murmur2_gives_the_values_of_kafkas_own_test() -> None:
    # org.apache.kafka.common.utils.UtilsTest
    known = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    for text, value in known.items():
        assert ids.murmur2(text) == value & 0xFFFFFFFF


def test_a_product_id_carries_the_object_id() -> None:
    product = ids.product_id("TEE-BLK-M")
    assert ids.object_id_of(product) == ids.product_object_id("TEE-BLK-M")
    assert product[14:18] == "8ca7" and product[19:23] == "a109"


def test_an_address_folds_to_one_form() -> None:
    assert ids.fold_email("  Ana.Lim@EXAMPLE.com ") == "ana.lim@example.com"
    assert ids.fold_email("u\u0308ser@B\u00dcCHER.example") == "\u00fcser@xn--bcher-kva.example"


def test_the_ledger_id_has_no_partition() -> None:
    command = "0192f5c0-9a00-7c2a-8123-456789abcdef"
    assert ids.command_domain(command) == 3 and ids.command_partition(command) == 0x02A
    assert ids.ledger_id(command) == "0192f5c0-9a00-7c00-8123-456789abcdef"
    assert not ids.is_keyed(command)
