from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from reconciler.cli.diff import render
from reconciler.model.difference import Change, Difference, Listed, Moved, PackageChange
from reconciler.words.difference import commit_lines, markdown, one_line


def change(
    name: str, old: str | None, new: str | None, *, to: Change = "upgraded", arch: str = "amd64"
) -> PackageChange:
    how: Change = "added" if old is None else "removed" if new is None else to
    return PackageChange(name=name, kind="deb", architecture=arch, change=how, old=old, new=new)


NGINX = change("nginx", "1.22.1-9", "1.22.1-9+deb12u2")
MANY = tuple(change(f"package-{number}", "1", "2") for number in range(30))


def terminal(difference: Difference) -> str:
    shown = StringIO()
    Console(width=80, file=shown, highlight=False, no_color=True).print(render(difference))
    return shown.getvalue()


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Difference(), "nothing inside changed"),
        (
            Difference(packages=(NGINX, change("jq", None, "1"), change("tmux", None, "3"))),
            "nginx 1.22.1-9 → 1.22.1-9+deb12u2, +2 packages",
        ),
        (Difference(packages=(change("jq", None, "1.6-2"),)), "+jq 1.6-2"),
        (Difference(packages=(change("jq", "1.6-2", None),)), "-jq 1.6-2"),
        (Difference(packages=MANY), "30 packages changed"),
        (Difference(packages=(change("a", "2", "1", to="downgraded"),)), "a 2 → 1 (downgraded)"),
        (
            Difference(kernel=Moved(old="6.1.0-25", new="6.1.0-26"), users=Listed(added=("eve (0, /bin/sh)",))),
            "kernel 6.1.0-25 → 6.1.0-26, +1 user",
        ),
        (Difference(ports=Listed(added=("a", "b"), removed=("c",))), "+2 ports, -1 port"),
        (Difference(unknown={"packages": "older: locked"}), "nothing inside changed, packages not compared"),
        (
            Difference(suid=Listed(added=("/a",)), unknown={"packages": "x", "ports": "y"}),
            "+1 SUID file, packages and ports not compared",
        ),
        (
            Difference(packages=(change("libc6", "1", "2"), change("libc6", "1", "2", arch="i386"))),
            "libc6:amd64 1 → 2, libc6:i386 1 → 2",
        ),
    ],
)
def test_a_difference_is_one_line(difference: Difference, said: str) -> None:
    assert one_line(difference) == said


def test_a_commit_names_changes_up_to_twelve_and_counts_the_rest() -> None:
    assert commit_lines(Difference(packages=MANY[:12])) == tuple(f"package-{number} 1 → 2" for number in range(12))
    assert commit_lines(Difference(packages=MANY)) == (
        *(f"package-{number} 1 → 2" for number in range(11)),
        "and 19 more",
    )
    assert commit_lines(Difference()) == ("Nothing inside changed.",)


def test_what_guards_a_machine_comes_before_its_packages() -> None:
    found = commit_lines(
        Difference(packages=MANY, users=Listed(added=("eve (0, /bin/sh)",)), suid=Listed(removed=("/opt/x",)))
    )

    assert found[:2] == ("added user eve (0, /bin/sh)", "removed SUID file /opt/x")
    assert found[-1] == "and 21 more"


def test_what_could_not_be_compared_is_said_beside_any_number_of_changes() -> None:
    found = commit_lines(Difference(packages=MANY, unknown={"ports": "older: only root sees"}))

    assert found[-1] == "ports not compared (older: only root sees)"


def test_nothing_that_a_machine_names_steers_a_terminal_or_breaks_a_line() -> None:
    difference = Difference(
        packages=(change("a\x1b[2J", "1\n2", "3|4`"),), suid=Listed(added=("/opt/a\nReconciler-Key: x",))
    )

    shown = [one_line(difference), *commit_lines(difference), *terminal(difference).splitlines()]
    rows = markdown(difference).splitlines()

    assert all(line.isprintable() for line in shown)
    assert len(rows) == 4
    assert all(row.count("|") == 5 for row in rows)


def test_markdown_is_a_table_with_a_bound() -> None:
    found = markdown(Difference(kernel=Moved(old="1", new="2"), packages=(NGINX, *MANY)), most=3)

    assert found.splitlines()[2:5] == [
        "| changed | kernel | `1` | `2` |",
        "| upgraded | `nginx` | `1.22.1-9` | `1.22.1-9+deb12u2` |",
        "| upgraded | `package-0` | `1` | `2` |",
    ]
    assert found.endswith("\n\nAnd 29 more.")
    assert markdown(Difference()) == ""
    assert markdown(Difference(unknown={"os": "older: x"})) == "os not compared (older: x)."


def test_the_table_fits_into_80_columns() -> None:
    long = change("linux-image-6.1.0-25-cloud-amd64-unsigned", "6.1.106-3+deb12u1~bpo11+1", "6.1.112-1+deb12u1~bpo11+1")
    shown = terminal(Difference(packages=(long, NGINX), services=Listed(added=("a.service", "b.service"))))

    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert re.search(r"service +added +a\.service *\n +added +b\.service", shown)
    assert re.search(r"upgraded +nginx +1\.22\.1-9 → 1\.22\.1-9\+deb12u2", shown)


def test_without_a_change_there_is_no_table() -> None:
    assert terminal(Difference(unknown={"os": "x"})).strip() == ""


MOVED = Difference(
    users=Listed(
        added=("deploy (1001, /bin/bash)", "eve (0, /bin/sh)", "twin (3, /bin/sh)"),
        removed=("deploy (1000, /bin/bash)", "mallory (7, /bin/sh)", "twin (1, /bin/sh)", "twin (2, /bin/sh)"),
    ),
    ports=Listed(added=("tcp 0.0.0.0:80 (caddy)", "udp instance:ephemeral (b)"), removed=("tcp 0.0.0.0:80",)),
)


def test_what_is_there_under_the_same_name_has_changed_and_did_not_come_and_go() -> None:
    assert one_line(MOVED) == "1 user changed, +2 users, -3 users, 1 port changed, +1 port"
    assert commit_lines(MOVED) == (
        "user deploy 1000, /bin/bash → 1001, /bin/bash",
        "added user eve (0, /bin/sh)",
        "added user twin (3, /bin/sh)",
        "removed user mallory (7, /bin/sh)",
        "removed user twin (1, /bin/sh)",
        "removed user twin (2, /bin/sh)",
        "port tcp 0.0.0.0:80 nobody's → caddy",
        "added port udp instance:ephemeral (b)",
    )
    assert "| changed | user `deploy` | `1000, /bin/bash` | `1001, /bin/bash` |" in markdown(MOVED).splitlines()
    assert "user  changed  deploy" in terminal(MOVED)
    assert "1000, /bin/bash → 1001, /bin/bash" in terminal(MOVED)
