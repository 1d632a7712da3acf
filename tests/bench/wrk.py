"""wrk with our scripts: views or reads of products."""

from dataclasses import dataclass
from pathlib import Path

from stack import BenchError, Stack, numbers, product_id, run

HERE = Path(__file__).resolve().parent
PRODUCTS = 100  # of the catalogue, asked for in turn
ERRORS = ("connect", "read", "write", "timeout", "status")


@dataclass
class Sample:
    requests: int
    per_second: float
    p99_ms: float


def write_product_ids(stack: Stack) -> Path:
    """The file that products.lua reads."""
    file = stack.state / "product-ids"
    file.write_text("".join(product_id(f"BENCH-{i:04d}") + "\n" for i in range(PRODUCTS)))
    return file


def ask(what: str, port: int, connections: int, seconds: int, ids: Path, threads: int = 2, pause_ms: int = 0,
        anew: bool = False) -> Sample:
    """`views` or `reads`, each client's next one `pause_ms` after its last answer, by a new connection when `anew`; raises
    when one is not answered well."""
    text = run("wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s",
               *(("-H", "Connection: close") if anew else ()), "-s", HERE / "products.lua",
               f"http://127.0.0.1:{port}", "--", ids, what, *([pause_ms] if pause_ms else []))
    result = numbers(text)
    wrong = {name: int(result[name]) for name in ERRORS if result[name]}
    if wrong or not result["requests"]:
        raise BenchError(f"wrk's {what} with {connections} connections to port {port} met errors: {wrong or 'no answer'}")
    return Sample(int(result["requests"]), result["requests"] / result["duration"] * 1e6, result["p99"] / 1000)
