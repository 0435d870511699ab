#!/usr/bin/env python3
"""Checks the first words of sentences; `./run lint` runs this script.

CONTRIBUTING.md has the rule: a sentence names its subject. A sentence that begins with one of the
words in REFUSED has its subject behind the verb, or has none. The script reads comments, the docs
of Elixir and Python, Markdown, and the docs of ops. It checks nothing else of the language: a text
without a breach can still be poor English.

The script prints each breach as `path:line: text`, and ends with status 1 if there is one.
"""

import json
import re
import sys
from pathlib import Path

from walls import ROOT, tracked

REFUSED = re.compile(r"(What|Who|Whoever|Of|Nobody|Whether)\b(?!\()")
SENTENCE_START = re.compile(r"(?<=[.!?]) +|^")
COMMENTS = {
    **dict.fromkeys((".cpp", ".hpp", ".rs"), re.compile(r"(?:^|\s)//[/!]?<?(?:\s+(.*))?$")),
    **dict.fromkeys((".ex", ".exs", ".py", ".sh", ".cmake", ".txt", ".yml", ""),
                    re.compile(r"(?:^|\s)#(?:\s+(.*))?$")),
}
QUOTES = {
    **dict.fromkeys((".ex", ".exs"), re.compile(r'\s*@(?:module|type)?doc (?:~S)?("""|")(.*)')),
    ".py": re.compile(r'\s*(""")(.*)'),
}


def comments(lines, suffix):
    """Lines of comments and docs as (number, text). An empty text ends a paragraph."""
    end = None
    for number, line in enumerate(lines, 1):
        opened = QUOTES[suffix].fullmatch(line) if suffix in QUOTES and not end else None
        comment = COMMENTS[suffix].search(line)
        if opened:
            text = opened[2]
            end = opened[1] if opened[1] not in text else None
            yield number, text.split(opened[1])[0]
        elif end:
            yield number, line.split(end)[0]
            end = None if end in line else end
        elif comment:
            if line[:comment.start()].strip():  # a comment behind code begins a paragraph
                yield number, ""
            yield number, comment[1] or ""
        else:
            yield number, ""


def markdown(lines):
    fenced = False
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        for cell in [""] if fenced or line.startswith("    ") else line.split(" | "):
            yield number, cell.strip("|")
            if " | " in line:
                yield number, ""


def sentences(lines):
    """The sentences of paragraphs and list items, each with the number of its first line."""
    paragraph = []
    for number, text in [*lines, (0, "")]:
        item = re.match(r"\s*(?:[-*]|\d+\.|#+)\s+(.*)", text)
        if paragraph and (item or not text.strip()):
            whole = " ".join(text for _, text in paragraph)
            for start in SENTENCE_START.finditer(whole):
                at, length = 0, len(paragraph[0][1]) + 1
                while length <= start.end():
                    at += 1
                    length += len(paragraph[at][1]) + 1
                yield paragraph[at][0], whole[start.end():]
            paragraph = []
        if text.strip():
            paragraph.append((number, (item[1] if item else text).strip().lstrip("*_")))


def documents():
    for path in tracked():
        suffix = Path(path).suffix
        if suffix in (".md", ".livemd"):
            yield path, markdown((ROOT / path).read_text().split("\n"))
        elif suffix in COMMENTS and (suffix or path in ("run", ".ci/run", "tests/lint/pre-commit")):
            yield path, comments((ROOT / path).read_text(errors="replace").split("\n"), suffix)
    for op in json.loads((ROOT / "protocol/ops.json").read_text())["ops"]:
        for text in [op["doc"], *(attr["doc"] for attr in op["attrs"])]:
            yield f"protocol/ops.json: {op['name']}", [(1, text)]


def main():
    breaches = [f"{path}:{number}: {text[:60]}" for path, lines in documents()
                for number, text in sentences(lines) if REFUSED.match(text)]
    for text in breaches:
        print(text)
    print(f"{len(breaches)} sentences without a subject at their beginning")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
