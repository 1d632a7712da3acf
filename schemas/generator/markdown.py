"""The little Markdown our documents use, as HTML: paragraphs, headings, lists, indented code; `code`, **bold**, links."""

import html
import re


def inline(text: str) -> str:
    """One run of text. Nothing in it is HTML."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(f"<code>{html.escape(part[1:-1])}</code>" if part.startswith("`") and len(part) > 1 else plain(part)
                   for part in parts)


def plain(text: str) -> str:
    escaped = html.escape(text)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>', escaped)


def strong_over_code(text: str) -> str:
    """**`code`** spans two kinds of mark: the bold one is taken off first."""
    return re.sub(r"\*\*(`[^`]*`)\*\*", r"\1", text)


def slug(title: str) -> str:
    return "guide-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def block(text: str) -> str:
    lines = text.split("\n")
    if text.startswith("## "):
        return f'<h2 id="{slug(text[3:])}">{inline(text[3:])}</h2>'
    if all(line.startswith("    ") for line in lines):
        code = "\n".join(line[4:] for line in lines)
        return f'<pre tabindex="0"><code>{html.escape(code)}</code></pre>'
    if all(line.startswith(("- ", "  ")) for line in lines):
        items = re.split(r"\n- ", text[2:])
        return "<ul>" + "".join(f"<li>{inline(strong_over_code(item))}</li>" for item in items) + "</ul>"
    return f"<p>{inline(strong_over_code(text))}</p>"


def to_html(text: str) -> str:
    return "\n".join(block(part) for part in re.split(r"\n\s*\n", text.strip("\n")) if part)


def headings(text: str) -> list:
    """(anchor, title) of each."""
    return [(slug(title), title) for title in re.findall(r"^## (.+)$", text, re.MULTILINE)]
