"""A network that falls silent: packets vanish, and nobody is told. Run as a module it is the far end."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network

import anyio
import pytest

from tests.needs import needs
from tests.processes import ROOT
from tests.tcp_proxy import tcp_proxy

HOSTS = ip_network("10.254.0.0/16")


@dataclass(frozen=True)
class Network:
    """The way to PostgreSQL is `conninfo`, over a cable that can be pulled at the far end."""

    name: str
    conninfo: str

    def drop(self) -> None:
        """Lose every packet from now on; no side sees a connection end."""
        _ip("-n", self.name, "link", "set", "far", "down")

    def heal(self) -> None:
        _ip("-n", self.name, "link", "set", "far", "up")


@contextmanager
def silent_network(conninfo: str) -> Iterator[Network]:
    """A network namespace with a relay to PostgreSQL in it. Skips the test where that takes rights we have not."""
    # Names and addresses of its own: others on this machine may run the same test.
    name = f"aiserv-{os.getpid()}"
    here, there = (str(HOSTS[os.getpid() % 2**14 * 4 + host]) for host in (1, 2))
    needs(shutil.which("ip"), "ip: apt-get install iproute2")
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError:
        pytest.skip("this needs the right to make network namespaces")
    near = f"ai{os.getpid()}"
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", "far", "netns", name)
        _ip("address", "add", f"{here}/30", "dev", near)
        _ip("-n", name, "address", "add", f"{there}/30", "dev", "far")
        _ip("link", "set", near, "up")
        _ip("-n", name, "link", "set", "far", "up")
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "tests.faults.network", conninfo, there]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as relay:
            assert relay.stdout
            try:
                yield Network(name, relay.stdout.readline().strip())
            finally:
                relay.kill()
    finally:
        # At once: with its namespace it would go some time later, and the next one has this name, too.
        subprocess.run(["ip", "link", "delete", near], check=False, capture_output=True)
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


async def relay(conninfo: str, host: str) -> None:
    """Pass bytes to PostgreSQL, whose socket is a file and knows no networks."""
    async with tcp_proxy(conninfo, host) as proxy:
        sys.stdout.write(f"{proxy.conninfo}\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(relay, sys.argv[1], sys.argv[2])
