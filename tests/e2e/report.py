"""What a long run tells whoever reads its report: ../all."""

import os


def tell(line: str) -> None:
    """Also on standard output, where a failed test shows it."""
    print(line)
    if "TW_REPORT" in os.environ:
        with open(os.environ["TW_REPORT"], "a", encoding="utf-8") as file:
            file.write(f"{line}\n")
