"""What stands in the tree for people: links of pages lead somewhere, and no merge was left half done."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

SOURCE = Path(sys.argv[1]).resolve()
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
LEFT_BY_A_MERGE = re.compile(r"^(<<<<<<<|=======|>>>>>>>|\|\|\|\|\|\|\|)( |$)", re.M)


def files(*patterns: str) -> list[Path]:
    git = ["git", "-c", f"safe.directory={SOURCE}", "-C", SOURCE, "ls-files", "-z", "--", *patterns]
    names = subprocess.run(git, capture_output=True, text=True, check=True).stdout.split("\0")
    return [SOURCE / name for name in names if (SOURCE / name).is_file()]


class Docs(unittest.TestCase):
    def test_links_lead_somewhere(self):
        pages = files("*.md")
        self.assertGreater(len(pages), 20)
        lost = [
            f"{page.relative_to(SOURCE)}: {link}"
            for page in pages
            for link in LINK.findall(page.read_text())
            if "://" not in link and not link.startswith("mailto:") and not (page.parent / link).exists()
        ]
        self.assertEqual(lost, [])

    def test_no_merge_was_left_half_done(self):
        left = [
            str(file.relative_to(SOURCE))
            for file in files()
            if LEFT_BY_A_MERGE.search(file.read_bytes().decode("utf-8", "replace"))
        ]
        self.assertEqual(left, [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
