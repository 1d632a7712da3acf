"""The programs do all their work with the system calls that docker/systemd leaves them. A call beyond those would end the
program with SIGSYS: see ../lib/confined.py."""

import signal
import subprocess
import sys

import pytest

from client import Client, some_email
from judge import Judged
from stack import PROGRAMS, ROOT, WORKERS, Stack, wait_until

SERVERS = ("postgres", "redis", "mongo")
CONFINED = (sys.executable, ROOT / "tests/lib/confined.py")


@pytest.mark.parametrize(
    "forbidden", ["import socket; socket.sethostname('x')", "import mmap; mmap.mmap(-1, 4096, prot=6)"]
)
def test_whoever_calls_what_is_not_allowed_is_ended(forbidden: str) -> None:
    done = subprocess.run([*CONFINED, sys.executable, "-c", forbidden], capture_output=True, check=False)
    assert done.returncode == -signal.SIGSYS, done.stderr


def test_the_programs_do_all_their_work_confined(
    healed: Stack, anyone: Client, merchant: Client, judged: Judged
) -> None:
    healed.stop(*PROGRAMS)
    # The sanitizer looks for leaks with ptrace(), which is none of the programs' calls.
    healed.start(*PROGRAMS, settings={"ASAN_OPTIONS": "detect_leaks=0"}, launcher=CONFINED)
    member = anyone.new_member()
    shopper = anyone.as_caller(member.access_token)
    product = merchant.new_product(price="12.50")
    assert shopper.add(product, 2).status_code == 200
    assert anyone.view(product).status_code == 202
    assert merchant.write("PATCH", f"/v1/products/{product}", {"price": "13.00"}, wait=True).status_code == 200
    body = {"email": some_email(), "password": member.password}
    assert shopper.write("POST", "/v1/members/me/email", body, wait=True).status_code == 200
    wait_until("the cart is repriced", lambda: shopper.get("/v1/cart").json()["summary"]["total_price"] == "26.00", 60)
    for name in PROGRAMS:
        assert healed.admin(name, "/metrics").status_code == 200
        healed.reload(name)
    for server in SERVERS:  # what is called only when something breaks
        healed.stop_server(server)
    wait_until("the edge has seen it", lambda: not healed.is_ready("edge"))
    for server in SERVERS:
        healed.start_server(server)
    for name in PROGRAMS:
        healed.wait_ready(name)
    assert shopper.add(product, 1).status_code == 200
    judged()
    healed.stop("edge", *WORKERS)
