"""What stands for an AMI's id where something launches by `resolve:ssm:…`: a parameter, or one version of it.

EC2 looks it up at each launch, as `name`, `name:version` or `name:label`, and by an ARN as well (ImageId of
RunInstances, EC2's API reference). So an AMI that a parameter held once is needed for as long as something names that
version. DescribeLaunchTemplateVersions resolves it too (`ResolveAlias`), but only one version in a call
(wata727/packer-plugin-amazon-ami-management#431): SSM tells ten.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from botocore.exceptions import ClientError

from reconciler.aws.errors import BY_CODE, THROTTLED, code_of, translated
from reconciler.aws.session import Clients
from reconciler.model.errors import ReconcilerError
from reconciler.model.text import visible
from reconciler.registries.ec2.parameters import AMI_ID, MOST_NAMES

LATE = "resolve:ssm:"
"""How an ImageId begins that is looked up in SSM at each launch (CreateLaunchTemplate, EC2's API reference)."""
_AMAZONS = "/aws/service/"
_ARN = "arn:"
_OWN = re.compile(r"arn:[a-z-]+:ssm:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):parameter(?P<name>(?:/[^/:]+){2,})")
"""The ARN of a parameter, in none of its versions (SSM user guide, "Working with shared parameters")."""


class Aliases:
    """What `resolve:ssm:…` stands for in one region. Each is asked for once; what can't be is told in `unread`."""

    def __init__(self, clients: Clients, location: str) -> None:
        """Take the clients of the run; nothing is asked yet."""
        self._clients, self._location = clients, location
        self._known: dict[str, frozenset[str]] = {}
        self.unread: list[str] = []
        """Why it is not known what one stands for, one cause a text: any image may be meant."""
        self.account = ""
        """Whose account the clients are of, as far as it is known: its ARNs name parameters that are here."""

    def look_up(self, written: Iterable[str]) -> None:
        """Ask for those of these ImageIds that are aliases, by one GetParameters for ten parameters.

        Amazon's own parameters are left out: they hold Amazon's images.
        """
        named = {one.removeprefix(LATE) for one in written if one.startswith(LATE)}
        asked = sorted(one for one in named if one not in self._known and not one.startswith(_AMAZONS))
        for batch in _batches(asked):
            self._ask(batch)

    def images(self, written: str) -> frozenset[str]:
        """The AMIs that an ImageId stands for: itself, or what is looked up; none where that is there no more."""
        if not written.startswith(LATE):
            return frozenset({written})
        self.look_up([written])
        return self._known.get(written.removeprefix(LATE), frozenset())

    def follows(self, written: str) -> str | None:
        """The parameter whose newest value an ImageId takes, by its name here; none for what is pinned.

        Nor for an ARN that names another account's, or, as `/web` and `web` have one ARN, may be of either name.
        """
        named = written.removeprefix(LATE)
        if not written.startswith(LATE) or ":" not in named:
            return named if written.startswith(LATE) else None
        match = _OWN.fullmatch(named)
        ours = match is not None and (match["region"], match["account"]) == (self._location, self.account)
        return match["name"] if match is not None and ours else None

    def _ask(self, batch: Sequence[str]) -> None:
        """Ask for a batch; where SSM refuses it, as it does for one that may not be read, for each by itself."""
        said = ", ".join(visible(f"{LATE}{one}") for one in batch)
        try:
            with translated(f"looking up {said} in {self._location}"):
                found = self._clients.ssm(self._location).get_parameters(Names=list(batch))["Parameters"]
        except ReconcilerError as error:
            cause = error.__cause__
            if len(batch) > 1 and isinstance(cause, ClientError) and BY_CODE.get(code_of(cause)) is not THROTTLED:
                for one in batch:
                    self._ask([one])
                return
            self._known |= dict.fromkeys(batch, frozenset[str]())
            # What a parameter of this account holds now counts by the list of parameters, whoever may not read it.
            if any(self.follows(f"{LATE}{one}") is None for one in batch):
                self.unread.append(error.what)
            return
        told = {one["Name"]: frozenset(AMI_ID.findall(one["Value"])) for one in found}
        for one in batch:
            # Of what was asked by its ARN the answer's name may be that, or its name.
            alone = frozenset[str]().union(*told.values()) if one.startswith(_ARN) else frozenset[str]()
            self._known[one] = told.get(one.partition(":")[0], alone)


def _batches(asked: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ten at most, no two of one parameter, as the answer has its name alone; and each ARN by itself."""
    of: defaultdict[str, list[str]] = defaultdict(list)
    for one in asked:
        if one.startswith(_ARN):
            yield [one]
        else:
            of[one.partition(":")[0]].append(one)
    for turn in range(max(map(len, of.values()), default=0)):
        now = [several[turn] for several in of.values() if turn < len(several)]
        for first in range(0, len(now), MOST_NAMES):
            yield now[first : first + MOST_NAMES]
