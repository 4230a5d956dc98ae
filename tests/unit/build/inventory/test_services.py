from __future__ import annotations

from reconciler.build.inventory.take import parse
from tests.unit.build.inventory.conftest import Printed

UNITS = b"""\
cron.service                           enabled         enabled
fstrim.timer                           enabled         enabled
getty@.service                         enabled         enabled
cloud-config.service                   enabled-runtime enabled
hwclock.service                        masked          enabled
postfix.service                        generated       -
ssh.service                            disabled        enabled
systemd-fsck@.service                  static          -
"""


def test_what_is_enabled_for_good_is_a_service(printed: Printed) -> None:
    found = parse(printed(units=UNITS))

    assert found.services == ("cron.service", "fstrim.timer", "getty@.service")


def test_systemds_older_list_has_no_preset(printed: Printed) -> None:
    assert parse(printed(units=b"cron.service enabled\nssh.service disabled\n")).services == ("cron.service",)


def test_systemd_runs_a_script_only_where_no_unit_has_its_name(printed: Printed) -> None:
    found = parse(printed(units=UNITS, rc=b"S01postfix\nS01ssh\nS01hwclock.sh\nS20legacy\nK01cron\nREADME\n"))

    assert set(found.services or ()) - {"cron.service", "fstrim.timer", "getty@.service"} == {"legacy", "postfix"}


def test_a_failed_list_is_unread(printed: Printed) -> None:
    found = parse(printed(units=(1, b"", b"Failed to get unit file list\n")))

    assert found.services is None
    assert found.unread == {"services": "Failed to get unit file list"}


def test_a_machine_where_nobody_starts_services_says_so(printed: Printed) -> None:
    found = parse(printed().replace(b"section units 0 0 0\n", b""))

    assert found.unread == {"services": "neither systemd's, SysV's nor OpenRC's list of services is there"}
