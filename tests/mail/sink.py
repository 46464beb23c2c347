#!/usr/bin/python3
"""A mail server that keeps what it is handed in a directory (Debian: python3-aiosmtpd).

    sink.py DIRECTORY [PORT]

Prints its port. Each mail becomes DIRECTORY/<n>.eml, its first line the envelope's recipient.
Whoever writes to rifiutato@ is refused for good (550), to dopo@ the first time only (451), to
piena@ always for now (452).
"""

import asyncio
import pathlib
import sys

from aiosmtpd.smtp import SMTP

directory = pathlib.Path(sys.argv[1])
port = int(sys.argv[2]) if len(sys.argv) > 2 else 0


class Sink:
    def __init__(self):
        self.kept = len(list(directory.glob("*.eml")))
        self.delayed = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        local = address.split("@")[0]
        if local == "rifiutato":
            return "550 5.1.1 casella inesistente"
        if local == "piena":
            return "452 4.2.2 casella piena"
        if local == "dopo" and address not in self.delayed:
            self.delayed.add(address)
            return "451 4.7.1 riprovi fra poco"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.kept += 1
        text = "\n".join(envelope.rcpt_tos).encode() + b"\n" + envelope.content
        part = directory / f"{self.kept}.part"
        part.write_bytes(text)
        part.rename(directory / f"{self.kept}.eml")
        return f"250 preso in carico come {self.kept}"


async def main():
    sink = Sink()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(sink, enable_SMTPUTF8=True), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
