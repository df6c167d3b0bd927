#!/usr/bin/python3
"""Accepts mails on port 1025 and reports their number on port 8025, as JSON in Mailpit's form.

usage: mailpit [readyz]
"""

import asyncio
import json
import signal
import sys
import urllib.request

from aiosmtpd.smtp import SMTP


class Mails:
    """Counts mails; it keeps none."""

    count = 0

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        return "250 OK"


async def answer(mails, reader, writer):
    """Answers every HTTP request with the number of mails."""
    try:
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        body = json.dumps({"total": mails.count}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve():
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    # As process 1 of a container it has no default action for a signal.
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    mails = Mails()
    await loop.create_server(lambda: SMTP(mails, loop=loop), "0.0.0.0", 1025)
    await asyncio.start_server(lambda reader, writer: answer(mails, reader, writer), "0.0.0.0", 8025)
    await stopped.wait()


if sys.argv[1:] == ["readyz"]:
    urllib.request.urlopen("http://127.0.0.1:8025/readyz", timeout=2)
else:
    asyncio.run(serve())
