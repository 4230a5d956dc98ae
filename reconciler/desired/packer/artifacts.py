"""Whether what a template makes is an AMI."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.desired.packer.builders import AMI_TYPES, Build
from reconciler.desired.packer.evaluate import Scope, evaluate
from reconciler.desired.packer.syntax import Body
from reconciler.desired.packer.value import as_text
from reconciler.model.errors import UserError

_IMPORT = "amazon-import"
"""The post-processor that makes an AMI of what another builder left."""


def check_for_amis(builds: Sequence[Build], scope: Scope) -> None:
    """See that one of the builds that run leaves an AMI.

    Raises:
        UserError: none does, so that there would be nothing to keep.
    """
    for build in builds:
        skips = build.body.attributes.get("skip_create_ami")
        if skips is not None and as_text(evaluate(skips.expression, scope)) == "true":
            raise UserError(
                f"{build.builder.name} leaves no AMI after the whole build: skip_create_ami is true",
                where=skips.place,
                mend="remove the line, or choose another builder with packer.only",
            )
    if any(build.builder.type in AMI_TYPES or _imports(build.within.body) for build in builds):
        return
    first = builds[0].builder
    raise UserError(
        f"{first.name} builds no AMI, and nothing else that runs does",
        where=first.place,
        mend=f"take one of {', '.join(sorted(AMI_TYPES))}, or the post-processor {_IMPORT}",
    )


def _imports(body: Body) -> bool:
    """Whether a body has that post-processor, also in a sequence of them."""
    return any(_IMPORT in block.labels or _imports(block.body) for block in body.blocks)
