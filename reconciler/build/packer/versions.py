"""The differences between versions of Packer, each with its evidence: in plugins, how it is run, and what it prints.

"Seen" is what a Packer did that was run; "read" is its source or its change log. No other module decides by the number
of a version. How a template is read is no such decision, as it is not known by then which Packer builds: where versions
differ in what an expression comes to, `desired.packer` takes it for not known, and says beside it which does what.

What is said of IMDSv2 in a template names 1.7.0, which brought `metadata_options` (read: CHANGELOG). On two
differences nothing here depends. Before 1.8.5 Packer ends well where `-only` matches no build (seen: 1.6.6), as
any does after the null builder: what counts is what it left. And from 1.14.0 on `packer init` asks
releases.hashicorp.com before GitHub, which limits how often it may be asked without PACKER_GITHUB_API_TOKEN (read:
CHANGELOG; hashicorp/packer#11259).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.model.constraint import Version

OLDEST: Version = (1, 6, 0)
"""HCL2 templates as they are read here, and `run-cleanup-provisioner`, begin with 1.6 (read: CHANGELOG)."""

CURRENT: Version = (1, 16, 0)
"""The one that `reconciler packer` gets where the archive has none, or it is asked for the current one."""

LANGUAGE: Mapping[str, Version] = {
    "build: post-processors": (1, 6, 1),
    **dict.fromkeys(["provisioner: override", "vault()"], (1, 6, 2)),
    **dict.fromkeys(["packer", "consul_key()", "aws_secretsmanager()"], (1, 6, 5)),
    **dict.fromkeys(["env()", "variable: validation"], (1, 6, 6)),
    **dict.fromkeys(["data", "local", "build: error-cleanup-provisioner", "regex()", "regexall()"], (1, 7, 0)),
    **dict.fromkeys(["legacy_isotime()", "templatefile()"], (1, 7, 1)),
    **dict.fromkeys(['provisioner "file": content', "legacy_strftime()"], (1, 7, 5)),
    "build: hcp_packer_registry": (1, 7, 7),
    "provisioner: env": (1, 8, 0),
    **dict.fromkeys(["textencodebase64()", "textdecodebase64()"], (1, 11, 0)),
    **dict.fromkeys(
        ["alltrue()", "anytrue()", "base64gzip()", "strcontains()", "aws_secretsmanager_raw()"], (1, 12, 0)
    ),
    'provisioner "hcp-sbom"': (1, 12, 0),
    **dict.fromkeys(["hcp_packer_registry", "endswith()", "startswith()", "sum()", "filebase64()"], (1, 13, 0)),
    **dict.fromkeys(["optional()", "rfc3339_parse()", "unix_timestamp_parse()", "variable: any"], (1, 16, 0)),
    **dict.fromkeys(["provisioner: continue_on_error", 'post-processor "provenance"'], (1, 16, 0)),
}
"""The constructs of HCL2, by the names of `Template.constructs`, and since when. Older ones refuse the template.

`Blocks of type "data" are not expected here` (seen: 1.6.6). Read: CHANGELOG, and of functions, blocks, `any` and
`hcp-sbom` hcl2template/ and provisioner/ of 1.6.0 to 1.6.6, 1.7.0 to 1.7.2, 1.7.9, 1.8.0 to 1.12.0, 1.15.0 and 1.16.0.
`legacy_strftime` is of August 2021 (hashicorp/packer#11220). 1.12.0 lacks `filebase64` (hashicorp/packer#13195), 1.15.0
has it, and no change log names it. The sources of 1.13.0 to 1.14.3, which are between, can't be had of the module proxy
(November 2026): they judge for themselves.
"""

# Plugins

REQUIRED_PLUGINS: Version = (1, 7, 0)
"""`packer init`, `packer plugins` and the block `required_plugins` begin (read: CHANGELOG).

Before, the block is an error: `Blocks of type "required_plugins" are not expected here` (seen: 1.6.6).
"""

PLUGINS_APART: Version = (1, 10, 0)
"""From here on no plugin comes with Packer, and `packer plugins install --path` takes a file (read: CHANGELOG).

Up to 1.9 a template needs no plugin but those that nobody bundled (seen: 1.6.6 builds AMIs; 1.16.0 says `Unknown source
type amazon-ebs`).
"""

COMMUNITY_APART: Version = (1, 9, 0)
"""From here on, at the latest, the plugins that HashiCorp does not keep do not come with Packer (read: CHANGELOG)."""

_HASHICORPS = (
    "amazon", "ansible", "azure", "docker", "googlecompute", "parallels", "qemu", "vagrant", "virtualbox", "vmware",
    "vsphere",
)  # fmt: skip
_OF_THE_COMMUNITY = (
    "alicloud", "chef", "cloudstack", "converge", "digitalocean", "exoscale", "hcloud", "hyperone", "hyperv", "inspec",
    "jdcloud", "linode", "lxc", "lxd", "ncloud", "oneandone", "openstack", "oracle", "profitbricks", "proxmox",
    "puppet", "salt", "scaleway", "tencentcloud", "triton", "ucloud", "yandex",
)  # fmt: skip
ONCE_BUNDLED: Mapping[str, Version] = {
    **dict.fromkeys(_HASHICORPS, PLUGINS_APART), **dict.fromkeys(_OF_THE_COMMUNITY, COMMUNITY_APART),
}  # fmt: skip
"""The plugins that Packer once had, and since when it has them no more (read: CHANGELOG of 1.9.0 and 1.10.0).

What they are is read in command/plugin.go of 1.6.6 and command/vendored_plugins.go of 1.8.0 and 1.9.0. A plugin's
components are called after it, `amazon-ebs`, or are it, `docker` (read: packer/plugin.go of 1.16.0).
"""

HANDED_OVER = frozenset({
    "digitalocean", "exoscale", "hcloud", "hyperone", "jdcloud", "linode", "ncloud", "oneandone", "oracle",
    "parallels", "profitbricks", "scaleway", "tencentcloud", "ucloud", "yandex",
})  # fmt: skip
"""Plugins among them that their platform's owner keeps now, or nobody: they are not to be had as HashiCorp's."""


def is_of_the_past(component: str) -> bool:
    """Whether a component is of a plugin that the community keeps."""
    return any(
        apart == COMMUNITY_APART and (component == name or component.startswith(f"{name}-"))
        for name, apart in ONCE_BUNDLED.items()
    )


CHECKED_PLUGINS: Version = (1, 11, 0)
"""A plugin without a matching `_SHA256SUM` file beside it is passed over without a word (seen: 1.16.0).

PACKER_PLUGIN_PATH is one folder instead of a list, is looked at instead of Packer's own, and a plugin in the folder
itself, not below it, does not count (read: CHANGELOG of 1.11.0, packer/plugin_folders.go of 1.16.0).
"""

WHOLE_SOURCES: Version = (1, 11, 0)
"""A plugin's source is a host and a path of two or more parts, `github.com/hashicorp/amazon` (read: CHANGELOG).

`A source URL must at least contain a host and a path with 2 components` says who takes no less (seen: 1.16.0).
"""

NO_PRERELEASES: Version = (1, 11, 0)
"""A plugin that is required in a prerelease, `>= 1.2.0-beta`, is refused: `Unsupported prerelease for constraint`.

Seen: 1.16.0. Read: hcl2template/types.required_plugins.go of 1.8.0, 1.9.0, 1.10.0 and 1.10.3, which have no such rule,
and of 1.11.0. Packer's own version may be compared with one.
"""

# What it prints

EVERYTHING_IS_A_HEADLINE: Version = (1, 13, 0)
"""`ui,message` lines become `ui,say`: what a script prints may come as a headline (read: CHANGELOG of 1.13.0)."""

TYPED_NAMES: Version = (1, 8, 6)
"""A JSON template's builder that has a name is called `type.name` in what is printed (read: CHANGELOG; seen: 1.16.0).

`-only` still takes the name alone. Before, it is called as it is named (seen: 1.6.6).
"""

MASKED = "<sensitive>"
"""Stands for the value of a sensitive variable: for people in every version, for machines from 1.15.1 on.

From 1.4.4 to 1.15.0 values were printed in clear there (seen: 1.6.6; hashicorp/packer#7997), and what a script prints
of its own environment always is, so whatever is kept is redacted here, whichever Packer it comes from. The masking
replaces short values inside of words: `us` in `us-east-1` (hashicorp/packer#13659).
"""

LOG_LINE = re.compile(rb"[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9:]{8} ")
"""Begins a line of its log. What 1.6.6 can't read of its settings stands between such lines, and nowhere else.

It prints none of it without PACKER_LOG (seen: 1.6.6); 1.16.0 does.
"""

# How it words what went wrong. All of it was seen with 1.6.6 and with 1.16.0, unless it says otherwise.

PROVISIONING_FAILED = "Provisioning step had errors"
"""Follows a provisioner that failed, from 1.6.1 on, and not of every builder."""

SEVERAL = re.compile(r"[0-9]+ error(?:\(s\)|s)? occurred:")
"""Stands above a list of errors, one a bullet, and says nothing. The two ways to write it are of two libraries."""

EMPTY_SUMMARIES = re.compile(r'|[0-9]+ error(?:\(s\)|s)? occurred:|Failed to (?:prepare|initialize) build:? ".*"')
"""Summaries of diagnostics that say nothing; the cause stands below. 1.6.6 has all three in one text."""

ORIGINAL = "\nOriginal error: "
"""Stands between advice and the cause, where a JSON template can't be read (seen: 1.16.0)."""

UNKNOWN_COMPONENT = re.compile(
    r'Unknown (?:source|builder|provisioner|error-cleanup-provisioner|post-processor|data|data source)(?: type)? "?'
    r'([^\s"]+)"?'
    r"|The (?:builder|provisioner|post-processor) (\S+) is unknown by Packer\b"
)
"""A component that no installed plugin has. 1.6.6 says `Unknown builder x` of JSON, 1.16.0 `The builder x is unknown by
Packer`; of HCL2 both say `Unknown source type x`."""

NOT_KNOWN = re.compile(
    r"Unsupported (?:block type|argument)|Call to unknown function|[Uu]nknown configuration key|is not expected here"
)
"""Packer's words for what it does not know: a slip of the pen, or what a later one knows."""

KNOWN = re.compile(r"known (?:builders|provisioners|post-processors|data sources): \[(.*)\]", re.DOTALL)
"""Follows an unknown component of HCL2: every one that there is (seen: 1.6.6; 1.16.0 of data sources alone)."""

SUGGESTION = re.compile(r'Did you mean to use "')
"""Follows an unknown component whose name is nearly that of one that is there: a slip of the pen (seen: 1.16.0)."""

MISSING_PLUGINS = re.compile(r"The following plugins are required, but not installed:")
"""What `required_plugins` asks for and `packer init` was not run for, one a bullet (seen: 1.16.0)."""
