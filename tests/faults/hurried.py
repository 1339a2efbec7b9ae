"""A server process that has seconds for its clients: thousands of slow ones are seen off while a test waits."""

import sys

import anyio

from aiserv.api.process import serve
from aiserv.http.serving import Deadlines
from aiserv.logs import configure
from aiserv.settings import Settings


async def main(seconds: float) -> None:
    """Serve until somebody kills the process."""
    settings = Settings.load()
    configure(settings.log)
    await serve(settings, anyio.Event(), Deadlines(seconds, seconds, seconds, slowest=2**30))


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[1]), backend_options={"use_uvloop": True})
