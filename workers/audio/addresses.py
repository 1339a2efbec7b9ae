"""Which hosts a recording may be fetched from: judged on the address that is really connected to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Beside what is link-local, as most clouds' are: AWS and Google over IPv6, Alibaba, Azure, Oracle.
_METADATA: Final = tuple(
    ip_network(network)
    for network in ("fd00:ec2::/32", "fd20:ce::/32", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_UNSPECIFIED: Final = (ip_network("0.0.0.0/8"), ip_network("255.255.255.255"))

# Where the IPv4 address lies in an IPv6 one, in bits from its end: RFC 4291, 6052, 8215, 3056.
_EMBEDDED: Final = (
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("64:ff9b:1::/48"), 0),
    (IPv6Network("2002::/16"), 80),
)


@dataclass(frozen=True)
class AllowedHosts:
    """`allowed` has names, `*.domains` and networks; without any, all that is not of the machine or its cloud."""

    allowed: Sequence[str | Network] = ()

    def admits(self, host: str, address: str) -> bool:
        """Whether a URL with this host may be fetched from this address."""
        try:
            real = _unmapped(ip_address(address))
        except ValueError:
            return False
        if not self.allowed:
            return not any(_is_local(meant) for meant in _meanings(real))
        return self._is_named(host) or any(real in network for network in self.allowed if not isinstance(network, str))

    def _is_named(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        for entry in self.allowed:
            if isinstance(entry, str) and (name.endswith(entry[1:]) if entry.startswith("*.") else name == entry):
                return True
        return False


def _unmapped(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _meanings(address: Address) -> Iterator[Address]:
    """The address, and every IPv4 address that it may be turned into on its way."""
    yield address
    if isinstance(address, IPv6Address):
        for network, shift in _EMBEDDED:
            if address in network:
                yield IPv4Address(int(address) >> shift & 0xFFFFFFFF)
        if address.teredo is not None:
            yield from address.teredo


def _is_local(address: Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or any(address in network for network in (*_METADATA, *_UNSPECIFIED))
    )
