"""Which provisioner a headline announces, and how headlines are told from what provisioners print."""

from __future__ import annotations

import re

from reconciler.build.packer.versions import EVERYTHING_IS_A_HEADLINE
from reconciler.model.constraint import Version
from reconciler.ports.builder import Provisioner

# As Packer 1.6.6 prints them; the texts of the shell family are the same up to 1.16.
_WITH_SCRIPT = (
    (re.compile(r"Provisioning with shell script: (.+)"), "shell"),
    (re.compile(r"Running local shell script: (.+)"), "shell-local"),
    (re.compile(r"Provisioning with powershell script: (.+)"), "powershell"),
    (re.compile(r"Provisioning with windows-shell script: (.+)"), "windows-shell"),
    (re.compile(r"Uploading (.+) => .+"), "file"),
    (re.compile(r"Executing Ansible: .* (\S+)"), "ansible"),  # the playbook comes last, by its whole path
)
_WITHOUT_SCRIPT = (
    ("Provisioning with Ansible Local", "ansible-local"),
    ("Provisioning with Ansible", "ansible"),
    ("Provisioning with chef-solo", "chef-solo"),
    ("Provisioning with chef-client", "chef-client"),
    ("Provisioning with Converge", "converge"),
    ("Provisioning with Inspec", "inspec"),
    ("Provisioning with Powershell", "powershell"),
    ("Provisioning with Puppet", "puppet"),
    ("Provisioning with Salt", "salt-masterless"),
    ("Restarting Machine", "windows-restart"),
)
# Inline commands are written to a temporary file of this name; the name says nothing to anybody.
_INLINE = re.compile(r".*[/\\](?:packer-shell|powershell-provisioner|windows-shell-provisioner)[0-9]*")

# The first words of the steps of the amazon builders and of Packer itself.
_STEP = re.compile(
    r"(?:Prevalidating|Creating temporary|Creating AMI|Creating security|Authorizing access|Launching|"
    r"Waiting (?:for|until)|Using|Connected|Connecting|Provisioning|Running (?:local shell script|post-processor)|"
    r"Uploading|Pausing|Restarting Machine|Stopping|Copying|Modifying|Enabling|Adding tags|Terminating|"
    r"Cleaning up|Deleting|Executing|Gracefully)\b"
)


def provisioner_of(headline: str) -> Provisioner | None:
    """The provisioner that a headline announces, or None."""
    for pattern, kind in _WITH_SCRIPT:
        if match := pattern.fullmatch(headline):
            return Provisioner(kind, None if _INLINE.fullmatch(match[1]) else match[1])
    return next((Provisioner(kind) for start, kind in _WITHOUT_SCRIPT if headline.startswith(start)), None)


def is_known_step(headline: str) -> bool:
    """Whether these are Packer's words for a step, as far as they are known here."""
    return _STEP.match(headline) is not None


def is_step(headline: str, version: Version) -> bool:
    """Whether a headline of this version of Packer is a step that it entered, not something a script printed."""
    return bool(headline) and (version < EVERYTHING_IS_A_HEADLINE or is_known_step(headline))
