"""Functions of networks, by Python's own `ipaddress`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

from reconciler.desired.packer.functions.signature import Function, integer, string
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.types import NUMBER, STRING, list_of
from reconciler.desired.packer.language.values import Value, list_value

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_CIDR = re.compile(r"[0-9a-fA-F.:]+/(?:0|[1-9][0-9]?|1[0-2][0-9])")
_MAX_EXTENSION = 32


def _network(value: Value) -> _Network:
    written = string(value)
    if _CIDR.fullmatch(written) is None:
        if "/" not in written:
            raise Refused("not a network")
        raise Undecided("a network that is not written as it mostly is")
    try:
        found = ipaddress.ip_network(written, strict=False)
    except ValueError as error:
        raise Refused("not a network") from error
    if found.version == 6 and "." in written:
        raise Undecided("an IPv4 address within IPv6")
    return found


def _spelled(address: int, network: _Network) -> str:
    if network.version == 4:
        return str(ipaddress.IPv4Address(address))
    found = ipaddress.IPv6Address(address)
    if found.ipv4_mapped is not None:
        raise Undecided("an IPv4 address within IPv6")
    return str(found)


def _host(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    network, at = _network(arguments[0]), integer(arguments[1])
    room = network.num_addresses
    if not -room <= at < room:
        raise Refused("the network has no such host")
    return _spelled(int(network.network_address) + (at if at >= 0 else room + at), network)


def _netmask(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    network = _network(arguments[0])
    return _spelled(int(network.netmask), network)


def _subnet(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    network, further, at = _network(arguments[0]), integer(arguments[1]), integer(arguments[2])
    if further < 0:
        raise Undecided("a wider network")
    if further > _MAX_EXTENSION or network.prefixlen + further > network.max_prefixlen or not 0 <= at < 2**further:
        raise Refused("the network has no such part")
    return _part(network, network.prefixlen + further, at)


def _part(network: _Network, prefix: int, at: int) -> str:
    address = int(network.network_address) + at * 2 ** (network.max_prefixlen - prefix)
    return f"{_spelled(address, network)}/{prefix}"


def _subnets(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    network = _network(arguments[0])
    following = int(network.network_address)
    found: list[Value] = []
    for one in arguments[1:]:
        further = integer(one)
        prefix = network.prefixlen + further
        if not 1 <= further <= _MAX_EXTENSION or prefix > network.max_prefixlen:
            raise Refused("the network has no such part")
        size = 2 ** (network.max_prefixlen - prefix)
        following = -(-following // size) * size
        if following + size > int(network.network_address) + network.num_addresses:
            raise Refused("the network has no room for another part")
        found.append(f"{_spelled(following, network)}/{prefix}")
        following += size
    return list_value(found, STRING)


NETWORKS: Mapping[str, Function] = {
    "cidrhost": Function(_host, (STRING, NUMBER), returns=STRING),
    "cidrnetmask": Function(_netmask, (STRING,), returns=STRING),
    "cidrsubnet": Function(_subnet, (STRING, NUMBER, NUMBER), returns=STRING),
    "cidrsubnets": Function(_subnets, (STRING,), NUMBER, list_of(STRING)),
}
"""By name."""
