"""Each worker ends at every crash point; nothing is lost and nothing happens twice."""

import pytest

import direct
from client import Client, MixedLoad
from crash_points import PRODUCT_POINTS, check_all_points
from fold import Fold
from judge import Judged
from recorder import Recorder
from stack import FAILPOINT_EXIT, WORKERS, Stack
from topics import Topics


@pytest.fixture(scope="module")
def load(merchant: Client, anyone: Client) -> MixedLoad:
    return MixedLoad(merchant, anyone, seed=2026)


@pytest.mark.parametrize("domain", WORKERS)
def test_a_worker_survives_a_crash_at_every_point(
    healed: Stack, load: MixedLoad, judged: Judged, topics: Topics, recorder: Recorder, domain: str
) -> None:
    check_all_points(healed, load, judged, topics, recorder, domain)


def test_a_crash_in_a_large_batch_of_views_loses_none_and_counts_none_twice(
    healed: Stack, merchant: Client, topics: Topics, fold: Fold, judged: Judged
) -> None:
    """Views of few products are folded in batches larger than others: their first ones alone count."""
    records = 20
    product = merchant.new_product()
    views = [(product, {"product_id": product})] * 1000
    healed.stop("product")
    for point in ("in_commit", *PRODUCT_POINTS):
        direct.write_all(topics, "product.record_view.v1", views)
        healed.start("product", fail=f"{point}=exit@1", settings={"TW_BATCH_RECORDS": str(records)}, ready=False)
        assert healed.wait_exit("product", 60) == FAILPOINT_EXIT
        assert f'"{point}"' in healed.log("product")
    healed.start("product", settings={"TW_BATCH_RECORDS": str(records)})
    fold.drained()
    assert records_in_a_batch(healed, "product") > 2 * records, "the batches were none but small ones"
    judged()


def records_in_a_batch(stack: Stack, name: str) -> float:
    """On average, since the worker was started."""
    sums = {"tillwire_records_total": 0.0, "tillwire_batches_total": 0.0}
    for line in stack.admin(name, "/metrics").text.splitlines():
        metric = line.split("{")[0].split(" ")[0]
        if metric in sums:
            sums[metric] += float(line.rsplit(" ", 1)[1])
    return sums["tillwire_records_total"] / max(sums["tillwire_batches_total"], 1)


@pytest.mark.parametrize("domain", WORKERS)
def test_sigterm_under_load_ends_it_in_order_twice(
    healed: Stack, load: MixedLoad, judged: Judged, domain: str
) -> None:
    for _ in range(2):
        for _ in range(5):
            load.send(domain, 10)
        healed.stop(domain)
        load.send(domain, 5)
        healed.start(domain)
    judged()


def test_everything_that_clients_were_told_is_so(judged: Judged) -> None:
    judged("I1", "I2", "I5", "I6", "I7", "I9", "I13", "I16", verify=True)
