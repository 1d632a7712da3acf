"""Lists of the catalogue: filters, orders, words, pages, and what there is of categories and tags."""

import itertools
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest

from client import Client, at_once, product_body
from judge import Judged
from replay import Traffic
from stack import Stack, wait_until

Shown = dict[str, Any]
PRODUCTS = "/v1/products"


def some_name() -> str:
    return f"c-{uuid.uuid4().hex[:12]}"


def page(client: Client, query: str) -> Shown:
    response = client.get(f"{PRODUCTS}?{query}")
    assert response.status_code == 200, response.text
    shown: Shown = response.json()
    return shown


def walk(client: Client, query: str, limit: int = 2) -> list[Shown]:
    """All pages, by the Link of each."""
    items: list[Shown] = []
    path = f"{PRODUCTS}?{query}&limit={limit}"
    while path:
        response = client.get(path)
        assert response.status_code == 200, response.text
        shown = response.json()
        assert len(shown["items"]) <= limit
        items += shown["items"]
        link = response.headers.get("Link")
        assert (link is None) == (shown["next_cursor"] is None)
        assert len(items) % limit == 0 or link is None, "only the last page is short"
        if link:
            target, _, relation = link.partition(">")
            assert relation == '; rel="next"' and f"cursor={shown['next_cursor']}" in target
        path = link.partition(">")[0][1:] if link else ""
    return items


def names(items: list[Shown]) -> list[str]:
    return [item["name"] for item in items]


@pytest.fixture(scope="module")
def category() -> str:
    return some_name()


@pytest.fixture(scope="module")
def tag() -> str:
    return some_name()


@pytest.fixture(scope="module")
def shelf(merchant: Client, category: str, tag: str) -> list[Shown]:
    """Products of one category, as they were shown when they were made; the last one is not for sale."""
    bodies = [
        {"name": "Black T-shirt, M", "price": "10.00", "tags": [tag, "Cotton"], "description": "Heavy."},
        {"name": "White T-shirt", "price": "9.00", "description": "Light.\nFor hot days"},
        {"name": "Café crème mug", "price": "100.00", "discount_price": "9.99", "tags": [tag]},
        {"name": "a.b*c (50%) [x] ^$ mug", "price": "0.50", "tags": ["kitchen"]},
        {"name": "10.00 twin", "price": "10.00", "slug": f"twin-{category}"},
        {"name": "Zebra", "price": "1234567.89", "discount_price": "200.00", "is_active": False, "tags": [tag]},
    ]
    made = [merchant.create_product(category=category, **body) for body in bodies]
    assert {response.status_code for response in made} == {201}
    return [response.json() for response in made]


@pytest.fixture(scope="module")
def for_sale(shelf: list[Shown]) -> list[Shown]:
    return [product for product in shelf if product["is_active"]]


def cents(product: Shown) -> Decimal:
    return Decimal(product["effective_price"])


# --- filters


def test_a_list_shows_products_as_they_are_shown_one_by_one(
    anyone: Client, category: str, for_sale: list[Shown]
) -> None:
    shown = page(anyone, f"category={category}")
    assert shown["next_cursor"] is None
    assert shown["items"] == list(reversed(for_sale)), "the newest first"
    for product in shown["items"]:
        assert anyone.get(f"{PRODUCTS}/{product['product_id']}").json() == product


FILTERS: list[tuple[str, Callable[[Shown], bool]]] = [
    ("min_price=10", lambda p: cents(p) >= 10),
    ("min_price=10.01", lambda p: cents(p) > 10),
    ("max_price=9.99", lambda p: cents(p) <= Decimal("9.99")),
    ("max_price=9.9", lambda p: cents(p) < Decimal("9.99")),
    ("min_price=9&max_price=9.99", lambda p: 9 <= cents(p) < 10),
    ("min_price=9.99&max_price=9", lambda p: False),
    ("on_sale=true", lambda p: p["discount_price"] is not None),
    ("on_sale=false", lambda p: p["discount_price"] is None),
    ("min_rating=0", lambda p: True),
    ("min_rating=0.01", lambda p: False),
    ("tag=kitchen", lambda p: "kitchen" in p["tags"]),
    ("tag=Cotton", lambda p: "Cotton" in p["tags"]),
    ("tag=cotton", lambda p: False),
    ("tag=", lambda p: False),
    ("on_sale=false&max_price=9.50&q=mug", lambda p: p["name"].startswith("a.b")),
    ("no_such_parameter=1", lambda p: True),
]


@pytest.mark.parametrize(("query", "fits"), FILTERS, ids=[query for query, _ in FILTERS])
def test_filters_keep_what_fits_all_of_them(
    anyone: Client, category: str, for_sale: list[Shown], query: str, fits: Callable[[Shown], bool]
) -> None:
    found = page(anyone, f"category={category}&{query}")["items"]
    assert sorted(names(found)) == sorted(names([product for product in for_sale if fits(product)]))


def test_a_product_is_found_by_its_sku_and_by_its_slug(anyone: Client, category: str, shelf: list[Shown]) -> None:
    first, twin = shelf[0], shelf[4]
    assert page(anyone, f"sku={quote(first['sku'])}")["items"] == [first]
    assert page(anyone, f"slug=twin-{category}")["items"] == [twin]
    assert page(anyone, f"sku={quote(first['sku'])}&slug=twin-{category}")["items"] == []


def test_what_is_not_for_sale_is_shown_to_merchants_only(
    anyone: Client, merchant: Client, shopper: Client, category: str, shelf: list[Shown], for_sale: list[Shown]
) -> None:
    assert page(merchant, f"category={category}")["items"] == list(reversed(shelf))
    for client in (anyone, shopper):
        assert page(client, f"category={category}")["items"] == list(reversed(for_sale))
    hidden = shelf[-1]["product_id"]
    assert anyone.get(f"{PRODUCTS}/{hidden}").status_code == 410
    assert merchant.get(f"{PRODUCTS}/{hidden}").json() == shelf[-1]


def test_anybody_may_keep_what_everybody_sees(anyone: Client, merchant: Client, shopper: Client) -> None:
    product = f"{PRODUCTS}/{merchant.new_product()}"
    for path in (PRODUCTS, product):
        for client, kept in ((anyone, "public, max-age=30"), (shopper, "public, max-age=30"), (merchant, "no-store")):
            fields = client.get(path).headers
            assert (fields["Cache-Control"], fields["Vary"]) == (kept, "Authorization, Consistency-Token"), path
    for path in ("/v1/categories", "/v1/tags"):
        assert anyone.get(path).headers["Cache-Control"] == "public, max-age=30"
    assert anyone.get(f"{PRODUCTS}?sort=x").headers["Cache-Control"] == "no-store"


def test_a_bad_token_is_refused_where_none_is_needed(anyone: Client) -> None:
    assert anyone.as_caller("abc").get(PRODUCTS).status_code == 401


# --- orders

ORDERS: list[tuple[str, Callable[[Shown], Any], bool]] = [
    ("price", cents, False),
    ("-price", cents, True),
    ("name", lambda p: p["name"].encode(), False),
    ("newest", lambda p: p["created_at"], True),
]


@pytest.mark.parametrize(("sort", "value", "down"), ORDERS, ids=[sort for sort, _, _ in ORDERS])
def test_a_list_is_in_its_order_with_ties_by_id(
    anyone: Client, category: str, for_sale: list[Shown], sort: str, value: Callable[[Shown], Any], down: bool
) -> None:
    expected = sorted(for_sale, key=lambda p: (value(p), p["_id"]), reverse=down)
    assert page(anyone, f"category={category}&sort={sort}")["items"] == expected
    assert walk(anyone, f"category={category}&sort={sort}") == expected


def test_sort_by_price_orders_decimals_as_numbers(anyone: Client, category: str, for_sale: list[Shown]) -> None:
    found = page(anyone, f"category={category}&sort=price")["items"]
    assert [item["effective_price"] for item in found] == ["0.50", "9.00", "9.99", "10.00", "10.00"]


def test_what_was_looked_at_most_comes_first(anyone: Client, merchant: Client) -> None:
    shelf = some_name()
    made = [merchant.new_product(category=shelf) for _ in range(3)]
    for product, views in zip(made, (2, 11, 0), strict=True):
        for _ in range(views):
            anyone.view(product)
    anyone.get(anyone.view(made[0], key=uuid.uuid4().hex).headers["Location"], Prefer="wait=10")
    anyone.get(anyone.view(made[1], key=uuid.uuid4().hex).headers["Location"], Prefer="wait=10")
    found = walk(anyone, f"category={shelf}&sort=-view_count", 1)
    assert [(item["product_id"], item["view_count"]) for item in found] == [(made[1], 12), (made[0], 3), (made[2], 0)]


# --- words

MUG, CAFE, BLACK, WHITE = "a.b*c (50%) [x] ^$ mug", "Café crème mug", "Black T-shirt, M", "White T-shirt"


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("black", [BLACK]),
        ("shirt", [BLACK, WHITE]),
        ("t-shirt", [BLACK, WHITE]),
        ("shirt black", [BLACK]),
        ("  BLACK   shirt ", [BLACK]),
        ("cotton shirt heavy", [BLACK]),
        ("days", [WHITE]),
        ("light for", [WHITE]),
        ("black white", []),
        ("shir", []),
        ("hirt", []),
        ("CAFÉ", [CAFE]),
        ("mug crème", [CAFE]),
        ("kitchen", [MUG]),
        ("mug", [CAFE, MUG]),
        ('crème"café', [CAFE]),
        ("a.b*c", [MUG]),
        ("(50%)", [MUG]),
        ("mug [x]", [MUG]),
        ("mug ^$", [MUG]),
        (".*", []),
        ("mu.", []),
        ("mug|black", []),
        ("[a-z]", []),
        ("\\w", []),
        ("(", []),
        ("\\", []),
        ("\\Qmug\\E", []),
        ("$where", []),
        ("-mug", []),
    ],
)
def test_words_are_found_in_any_order_and_case_and_are_nothing_but_words(
    anyone: Client, category: str, for_sale: list[Shown], q: str, found: list[str]
) -> None:
    shown = page(anyone, f"category={category}&q={quote(q)}&sort=name")["items"]
    assert names(shown) == sorted(found), "sorted by name"


def test_what_was_found_by_words_comes_in_pages_too(anyone: Client, category: str, for_sale: list[Shown]) -> None:
    assert names(walk(anyone, f"q=mug&category={category}&sort=-price", 1)) == [CAFE, MUG]


# --- pages


def another_client_writes(merchant: Client, category: str) -> Traffic:
    """Makes products of all prices and names, without a pause."""
    writer = merchant.as_caller(merchant.token)
    numbers = itertools.count(1)

    def write() -> None:
        number = next(numbers)
        price = f"{number * 37 % 60}.{number % 100:02}"
        body = product_body(category=category, price=price, name=f"{number * 7919 % 1000:03} between")
        assert writer.write("POST", PRODUCTS, body).status_code == 202

    return Traffic(write, pause_s=0)


@pytest.mark.parametrize("sort", ["newest", "price", "-price", "name", "-rating", "-view_count"])
def test_everything_is_seen_once_while_another_client_writes(anyone: Client, merchant: Client, sort: str) -> None:
    shelf = some_name()
    made = [
        merchant.create_product(category=shelf, price=f"{i % 7}.99", name=f"{i * 41:03}", wait=False) for i in range(40)
    ]
    paths = {response.json()["resource"] for response in made}
    for path in paths:
        wait_until(f"{path} is there", lambda path=path: anyone.get(path).status_code == 200)
    with another_client_writes(merchant, shelf):
        seen = [f"{PRODUCTS}/{item['product_id']}" for item in walk(anyone, f"category={shelf}&sort={sort}", 3)]
    assert len(seen) == len(set(seen)), "nothing twice"
    assert paths <= set(seen), "and nothing is left out"


def test_a_cursor_is_good_for_its_filter_and_order_only(
    anyone: Client, merchant: Client, category: str, for_sale: list[Shown]
) -> None:
    query = f"category={category}&sort=price"
    cursor = page(anyone, f"{query}&limit=1")["next_cursor"]
    assert names(page(anyone, f"{query}&cursor={cursor}&limit=1")["items"]) == [WHITE]
    others = [
        f"category={category}&sort=-price",
        f"category={category}",
        "sort=price",
        f"{query}&on_sale=true",
        f"{query}&min_price=0",
        f"{query}&q=mug",
        f"category={category}x&sort=price",
    ]
    edited = [f"{query}&cursor={text}" for text in (f"{cursor}A", cursor[:-1], cursor[:-4] + "AAAA", "", "x", "%00")]
    members = merchant.get("/v1/members?limit=1")
    assert members.status_code == 403
    for wrong in [*(f"{other}&cursor={cursor}" for other in others), *edited]:
        refused = anyone.get(f"{PRODUCTS}?{wrong}")
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed-request"), wrong
    sees_more = merchant.get(f"{PRODUCTS}?{query}&cursor={cursor}")
    assert sees_more.status_code == 400, "who sees other products has another list"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=1.0", "limit"),
        ("sort=cheap", "sort"),
        ("sort=", "sort"),
        ("sort=-name", "sort"),
        ("sort=Price", "sort"),
        ("sort=price,name", "sort"),
        ("min_price=x", "min_price"),
        ("min_price=", "min_price"),
        ("min_price=-1", "min_price"),
        ("min_price=1.999", "min_price"),
        ("min_price=1e3", "min_price"),
        ("max_price=NaN", "max_price"),
        ("max_price=99999999999999", "max_price"),
        ("min_rating=5.01", "min_rating"),
        ("min_rating=-1", "min_rating"),
        ("min_rating=four", "min_rating"),
        ("on_sale=yes", "on_sale"),
        ("on_sale=1", "on_sale"),
        ("on_sale=", "on_sale"),
        ("q=", "q"),
        ("q=+%22+", "q"),
        ("q=" + "x" * 201, "q"),
        ("q=%ff", "q"),
        ("category=%zz", "category"),
        ("tag=%00", "tag"),
        ("sort=price&sort=price", "sort"),
        ("category=a&limit=1&category=b", "category"),
        ("q=a&q", "q"),
        ("on_sale", "on_sale"),
        ("sku&sku=a", "sku"),
        ("limit", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=x&cursor=x", "cursor"),
    ],
)
def test_a_wrong_filter_is_refused_and_named(anyone: Client, query: str, said: str) -> None:
    refused = anyone.get(f"{PRODUCTS}?{query}")
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed-request"), refused.text
    assert refused.json()["detail"].startswith(f"{said} ")
    (error,) = refused.json()["errors"]
    assert error["pointer"] == f"/{said}" and error["code"] and error["detail"] in refused.json()["detail"]


def test_parameters_that_no_list_knows_are_left_alone(anyone: Client) -> None:
    assert anyone.get(f"{PRODUCTS}?utm=1&utm=2&flag&limit=1").status_code == 200


def test_a_page_has_twenty_products_unless_asked_for_up_to_a_hundred(anyone: Client, merchant: Client) -> None:
    shelf = some_name()
    for _ in range(2):
        assert merchant.create_products([product_body(category=shelf) for _ in range(51)]).status_code == 202
    merchant.new_product(category=shelf)  # of some partition; the others follow within moments
    whole = walk(anyone, f"category={shelf}", 100)
    while len(whole) < 103:
        whole = walk(anyone, f"category={shelf}", 100)
    assert len(page(anyone, f"category={shelf}")["items"]) == 20
    assert len(page(anyone, f"category={shelf}&limit=100")["items"]) == 100
    assert anyone.http.head(f"{PRODUCTS}?category={shelf}").status_code == 200


# --- categories and tags


def counted(client: Client, kind: str) -> dict[str, int]:
    response = client.get(f"/v1/{kind}")
    assert response.status_code == 200, response.text
    items = response.json()["items"]
    assert [item["name"].encode() for item in items] == sorted(item["name"].encode() for item in items)
    assert all(item["count"] > 0 for item in items)
    return {item["name"]: item["count"] for item in items}


def count_anew(stack: Stack) -> None:
    """An edge keeps what it counted for half a minute; another process knows nothing yet."""
    stack.stop("edge")
    stack.start("edge")


def test_categories_and_tags_count_what_is_for_sale(healed: Stack, anyone: Client, merchant: Client) -> None:
    shelf, first, second = some_name(), some_name(), some_name()
    made = [
        merchant.new_product(category=shelf, tags=tags) for tags in ([first], [first, second], [second, second], [])
    ]
    merchant.create_product(category=shelf, tags=[first], is_active=False)
    count_anew(healed)
    assert counted(anyone, "categories")[shelf] == 4
    tags = counted(anyone, "tags")
    assert (tags[first], tags[second]) == (2, 2), "a tag that a product has twice is one"
    assert merchant.deactivate_product(made[1]).status_code == 204
    count_anew(healed)
    assert counted(merchant, "categories")[shelf] == 3
    for product in made:
        merchant.deactivate_product(product)
    count_anew(healed)
    assert shelf not in counted(anyone, "categories") and first not in counted(anyone, "tags")


def test_what_was_counted_is_kept_for_half_a_minute(healed: Stack, anyone: Client, merchant: Client) -> None:
    shelf = some_name()
    merchant.new_product(category=shelf)
    count_anew(healed)
    first = anyone.get("/v1/categories")
    merchant.new_product(category=shelf)
    healed.pause_server("mongo")
    kept = anyone.get("/v1/categories")
    assert (kept.status_code, kept.json()) == (200, first.json()), "nobody is asked"
    assert int(first.headers["Age"]) <= int(kept.headers["Age"]) <= 30
    assert anyone.http.head("/v1/categories").status_code == 200
    assert anyone.get("/v1/tags").status_code == 503, "which was not counted yet"


def test_lists_leave_connections_to_those_who_read_one_product(healed: Stack, anyone: Client) -> None:
    def seconds_of_a_refusal() -> float:
        began = time.monotonic()
        refused = anyone.get(PRODUCTS)
        assert refused.status_code == 503 and refused.headers["Retry-After"], refused.text
        return time.monotonic() - began

    def half_wait() -> bool:
        """Nobody who waits for the store is refused before two seconds are over, so it shows whenever it shows."""
        took = sorted(at_once(*[seconds_of_a_refusal] * 8))
        return took[3] < 1.5 < took[4]

    healed.pause_server("mongo")
    wait_until("half of the eight connections wait for the store, the others' turn never comes", half_wait, 60)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
