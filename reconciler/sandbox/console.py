"""GetConsoleOutput: what the instance wrote, where moto has the same sample for all. Seen with moto 5.2.5."""

from __future__ import annotations

import base64

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.responses import EC2Response
from moto.ec2.responses.general import General


def install() -> None:
    """Replace moto's handler."""
    General.get_console_output = get_console_output  # type: ignore[method-assign, assignment]  # for a function


def get_console_output(self: EC2Response) -> ActionResult:
    """Answer with the console as it is now, whether or not `Latest` asks for that."""
    backend = self.ec2_backend
    self.error_on_dryrun()
    instance = backend.get_instance(self._get_param("InstanceId"))
    written = backend.ground_.instances.console(instance.id)
    return ActionResult(
        {"InstanceId": instance.id, "Timestamp": utcnow(), "Output": base64.b64encode(written).decode()}
    )  # fmt: skip
