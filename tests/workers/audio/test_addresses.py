"""From which addresses a recording may be fetched."""

from ipaddress import ip_network

import pytest

from workers.audio.addresses import AllowedHosts


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",  # noqa: S104 - as an address to refuse
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "nonsense",
    ],
)
def test_addresses_of_the_machine_and_its_cloud_are_refused(address: str) -> None:
    assert not AllowedHosts().admits("recordings.example.com", address)


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.1", "100.64.0.1", "fd12::1", "8.8.8.8", "2606:4700::1"])
def test_other_addresses_are_allowed_also_in_the_own_network(address: str) -> None:
    assert AllowedHosts().admits("recordings.example.com", address)


@pytest.mark.parametrize(
    ("host", "address", "admitted"),
    [
        ("pbx.example.com", "127.0.0.1", True),
        ("PBX.example.com.", "8.8.8.8", True),
        ("a.b.calls.example.com", "8.8.8.8", True),
        ("calls.example.com", "8.8.8.8", False),
        ("evilcalls.example.com", "8.8.8.8", False),
        ("example.org", "10.9.8.7", True),
        ("10.9.8.7", "::ffff:10.9.8.7", True),
        ("example.org", "8.8.8.8", False),
    ],
)
def test_with_a_list_only_what_it_has_is_allowed(host: str, address: str, admitted: bool) -> None:  # noqa: FBT001
    hosts = AllowedHosts(("pbx.example.com", "*.calls.example.com", ip_network("10.0.0.0/8")))

    assert hosts.admits(host, address) == admitted
