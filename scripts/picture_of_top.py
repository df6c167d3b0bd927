#!/usr/bin/env python3
"""Makes docs/pictures/top.svg: runs `orderflow top` on a terminal and draws its screen after a while.

    picture_of_top.py PROGRAM SECONDS FILE [COLUMNSxROWS]

PROGRAM is the built `orderflow`; its settings come from the environment. It shows a shop that must be kept busy meanwhile.
Needs the terminal emulator `pyte` (pip install pyte).
"""

import html
import os
import pty
import re
import select
import signal
import struct
import sys
import time
from fcntl import ioctl
from termios import TIOCSWINSZ

import pyte

CELL, LINE, MARGIN = 7.83, 17, 14
BACKGROUND, TEXT = "#16181d", "#d5d8de"
RED = "#ff6b68"


def watch(program, seconds, columns, rows):
    """Returns the terminal's screen after this many seconds."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(program, [program, "top"])
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            stream.feed(os.read(terminal, 65536))
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    return screen


def style(cell):
    """Returns a cell's colour, its background if it has one, and whether it is bold and underlined."""
    # There is only one colour besides the default, whichever code selected it.
    ink, paper = TEXT if cell.fg == "default" else RED, None
    if cell.reverse:
        ink, paper = BACKGROUND, TEXT
    return ink, paper, cell.bold, cell.underscore


def runs(line, columns):
    """Yields the runs of equal style in a line: start column, text, style."""
    start, text, last = 0, "", None
    for column in range(columns):
        cell = line[column]
        if style(cell) != last:
            if text:
                yield start, text, last
            start, text, last = column, "", style(cell)
        text += cell.data
    if text:
        yield start, text, last


def svg(screen):
    """Returns the screen as SVG. Each word is stretched to its cells, whatever the reader's font is."""
    width, height = screen.columns * CELL + 2 * MARGIN, screen.lines * LINE + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13">',
        "<title>orderflow top</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
    ]
    for row in range(screen.lines):
        for start, text, (ink, paper, bold, underlined) in runs(screen.buffer[row], screen.columns):
            x, y, long = MARGIN + start * CELL, MARGIN + row * LINE, len(text) * CELL
            if paper:
                out.append(f'<rect x="{x:.1f}" y="{y}" width="{long:.1f}" height="{LINE}" fill="{paper}"/>')
            if underlined:
                out.append(f'<rect x="{x:.1f}" y="{y + LINE - 1}" width="{long:.1f}" height="1" fill="{ink}"/>')
            weight = ' font-weight="bold"' if bold else ""
            # Each word separately, since the width of bars differs between fonts.
            for word in re.finditer(r"[^ ]+", text):
                at, cells = x + word.start() * CELL, len(word.group()) * CELL
                out.append(
                    f'<text x="{at:.1f}" y="{y + 13}" fill="{ink}" textLength="{cells:.1f}"{weight}>'
                    f"{html.escape(word.group())}</text>"
                )
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    program, seconds, file = sys.argv[1:4]
    columns, rows = (int(number) for number in (sys.argv[4] if len(sys.argv) > 4 else "120x38").split("x"))
    with open(file, "w", encoding="utf-8") as picture:
        picture.write(svg(watch(os.path.abspath(program), float(seconds), columns, rows)))


main()
