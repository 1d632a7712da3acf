"""The disk of a store or of the broker is full: its files lie on a small tmpfs that something else fills. Whoever needs it
says so and waits; when there is room again all goes on, and nothing is lost."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client import Client
from commands import Commands
from faults import reported, sample_of, seconds
from fold import Fold
from judge import Judged
from stack import PROGRAMS, Stack, wait_until
from topics import Topics

WORKER_OF = {"postgres": "member", "mongo": "product", "redis": "cart"}
TYPE_OF = {"member": "member.add_address.v1", "product": "product.rate.v1", "cart": "cart.add_item.v1"}
ROOM_MBYTES = {"postgres": 48, "mongo": 24, "redis": 24, "kafka": 64}  # beside what is there
AS_ROOT = () if os.geteuid() == 0 else ("sudo", "-n")


def run(*words: str | Path) -> None:
    done = subprocess.run([*AS_ROOT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stderr}"


class Disk:
    """A small one under the files of a server that does not run meanwhile; they are put back behind it."""

    def __init__(self, folder: Path, room_mbytes: int) -> None:
        self.folder = folder
        self._kept = folder.with_name(folder.name + "-kept")
        self._ballast = folder / "ballast"
        used = int(subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=True).stdout.split()[0])
        self._size_kbytes = used + 1024 * room_mbytes

    def mount(self) -> None:
        run("mv", self.folder, self._kept)
        run("mkdir", self.folder)
        run("mount", "-t", "tmpfs", "-o", f"size={self._size_kbytes}k", "tillwire-test", self.folder)
        self._copy(self._kept, self.folder)

    def unmount(self) -> None:
        """What was written on it is kept."""
        self.free()
        run("rm", "-rf", self._kept)
        run("mkdir", self._kept)
        self._copy(self.folder, self._kept)
        run("umount", self.folder)
        run("rmdir", self.folder)
        run("mv", self._kept, self.folder)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        run("cp", "-a", "--sparse=always", f"{source}/.", target)
        run("chown", f"--reference={source}", target)
        run("chmod", f"--reference={source}", target)

    def fill(self) -> None:
        """To the last byte; again when somebody made room."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    @property
    def is_full(self) -> bool:
        return shutil.disk_usage(self.folder).free < 65536


@contextmanager
def on_small_disk(stack: Stack, server: str) -> Iterator[Disk]:
    folder = next(path for path in (stack.state / "data" / name for name in (server, f"{server}d")) if path.is_dir())
    disk = Disk(folder, ROOM_MBYTES[server])
    stack.stop_server(server)
    disk.mount()
    try:
        stack.start_server(server)
        yield disk
    finally:
        disk.free()
        stack.stop_server(server)
        disk.unmount()
        stack.start_server(server)


def fill_until_it_hurts(disk: Disk, commands: Commands, stack: Stack, worker: str) -> None:
    """Until the worker says so: what a server writes for itself may free or find some room."""

    def hurts() -> bool:
        disk.fill()
        commands.send(TYPE_OF[worker], 40)
        answer = stack.admin(worker, "/readyz")
        return answer.status_code == 503 and answer.text.startswith("partition ") and disk.is_full

    wait_until(f"{worker} is not ready on a full disk, and names what waits, and why", hurts, 90, 0.1)


def fill_until_the_edge_refuses(disk: Disk, stack: Stack, shopper: Client, product: str) -> None:
    def refused() -> bool:
        disk.fill()
        return shopper.add(product, 1, wait=False).status_code == 503 and disk.is_full

    wait_until("a write is refused while the disk is full", refused, 120, 0)
    assert shopper.get(f"/v1/products/{product}").status_code == 200, "reads are served"
    wait_until("the edge says so", lambda: not stack.is_ready("edge"), 30)


def are_ready(stack: Stack, server: str) -> bool:
    """The server may have ended, and may only now be about to."""
    if not stack.server_runs(server):
        stack.start_server(server)
    return all(stack.is_ready(name) for name in PROGRAMS)


@pytest.mark.parametrize("server", sample_of(["kafka", *WORKER_OF], 1, "full disks"))
def test_a_full_disk_is_told_and_waited_for(
    healed: Stack,
    commands: Commands,
    shopper: Client,
    product: str,
    fold: Fold,
    judged: Judged,
    topics: Topics,
    server: str,
) -> None:
    before = topics.ends()
    with reported(f"the disk of {server} is full") as report:
        with on_small_disk(healed, server) as disk:
            for name in PROGRAMS:
                healed.wait_ready(name, 90)
            if server == "kafka":
                fill_until_the_edge_refuses(disk, healed, shopper, product)
            else:
                fill_until_it_hurts(disk, commands, healed, WORKER_OF[server])
            time.sleep(seconds(1, 20))
            assert all(healed.is_running(name) for name in PROGRAMS), "they wait"
            disk.free()
            with report.recovery():
                wait_until("all are ready", lambda: are_ready(healed, server), 120)
                judged()
            report.cycles = 1
        report.commands = sum(topics.ends().values()) - sum(before.values())
        fold.drained(120)
        judged()


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
