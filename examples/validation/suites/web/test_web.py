"""nginx serves."""

from __future__ import annotations

from testinfra.host import Host


def test_nginx_is_installed_and_its_configuration_valid(host: Host) -> None:
    assert host.package("nginx-light").is_installed
    with host.sudo():
        assert host.run("nginx -t").succeeded


def test_it_says_that_it_is_healthy(host: Host) -> None:
    assert host.check_output("curl --silent --fail http://127.0.0.1/healthz") == "ok"
