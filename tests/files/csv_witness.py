"""Writes random files of numbers and what Python's csv module reads in them.

Usage: csv_witness.py SEED FOLDER FILES. File i is FOLDER/i.csv.
FOLDER/i.txt has separator (as a number), header (0 or
1), rows, columns, then each number, one to a line.
"""

import csv
import io
import math
import random
import sys

SEPARATORS = [",", ";", "\t", " ", "|"]


def number(draw):
    kind = draw.randrange(6)
    if kind == 0:
        return str(draw.randrange(-1000, 1000))
    if kind == 1:
        return repr(draw.uniform(-10, 10))
    if kind == 2:
        return "%+.5e" % draw.uniform(-1e6, 1e6)
    if kind == 3:
        return draw.choice(["nan", "inf", "-inf", "NA"])
    if kind == 4:
        return "0." + "0" * draw.randrange(30) + str(draw.randrange(1, 10**9))
    return ""


def field(draw, separator, columns):
    """A number with quotes, or with spaces around it, unless a space is the separator."""
    text = number(draw)
    if columns == 1 and text == "":
        text = "7"
    space = " " if separator != " " else ""
    around = draw.randrange(8)
    if around == 0:
        return space * draw.randrange(3) + text + space * draw.randrange(3)
    if around == 1 and text:
        return '"' + space + text + space + '"'
    return text


def name(draw, separator):
    if draw.randrange(3) > 0:
        return "".join(draw.choice("abc 'x") for _ in range(draw.randrange(5)))
    inside = ["a", "b", separator, "\n", "\r\n", '""', "1"]
    return '"' + "".join(draw.choice(inside) for _ in range(draw.randrange(6))) + '"'


def blank(draw, separator):
    return "".join(
        draw.choice([c for c in " \t" if c != separator]) for _ in range(draw.randrange(4))
    )


def write(draw, path):
    separator = draw.choice(SEPARATORS)
    header = draw.randrange(2) == 1
    columns = draw.choice([1, 2, 2, 3, 5])
    end = draw.choice(["\n", "\r\n"])
    lines = []
    if header:
        names = [name(draw, separator) for _ in range(columns)]
        if columns == 1:
            names = ['"a\nb"']
        lines.append(separator.join(names))
        if separator == " ":
            lines[0] = separator.join(
                '"' + n.strip('"') + '"' if n.count('"') != 2 else n for n in names
            )
    else:
        lines.append(separator.join(field(draw, separator, columns) for _ in range(columns)))
    for _ in range(draw.randrange(1, 8)):
        kind = draw.randrange(6)
        if kind == 0:
            lines.append(blank(draw, separator))
        elif kind == 1 and columns > 1:
            lines.append(separator * (columns - 1))
        else:
            lines.append(separator.join(field(draw, separator, columns) for _ in range(columns)))
    text = end.join(lines) + (end if draw.randrange(2) else "")
    with open(path + ".csv", "w", newline="") as file:
        file.write(text)

    rows = []
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
        # A line of spaces is no row.
        if len(row) == 0 or (len(row) == 1 and row[0].strip(" \t\r") == ""):
            continue
        rows.append(row)
    columns = len(rows[0])
    numbers = []
    for row in rows[1:] if header else rows:
        assert len(row) == columns, (text, row)
        for content in row:
            content = content.strip(" \t\r")
            numbers.append(math.nan if content in ("", "NA") else float(content))
    with open(path + ".txt", "w") as file:
        count = len(rows) - (1 if header else 0)
        file.write(f"{ord(separator)} {int(header)} {count} {columns}\n")
        file.writelines(x.hex() + "\n" for x in numbers)


def main():
    seed, folder, files = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    draw = random.Random(seed)
    for i in range(files):
        write(draw, f"{folder}/{i}")


if __name__ == "__main__":
    main()
