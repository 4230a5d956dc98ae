"""Votes on a build: puts the verdict into the tags of its AMIs, in every region.

    python3 vote.py pass us-east-1=ami-0…,eu-west-1=ami-0… --by acme/validation --evidence https://…

`reconciler verdict` does the same, and `aws ec2 create-tags` could. The next run of the reconciler records it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

import boto3

_STATUS = {"pass": "passed", "fail": "failed"}
_ARTIFACT = re.compile(r"([a-z0-9-]+)=(ami-[0-9a-f]+)")
_LONGEST_VALUE = 256  # EC2's limit for a tag's value


def main(arguments: Sequence[str]) -> int:
    """Tag every AMI; return 0, or 2 if the list of AMIs is not whole."""
    parser = argparse.ArgumentParser(description="Put a verdict into the tags of a build's AMIs.")
    parser.add_argument("vote", choices=list(_STATUS))
    parser.add_argument("artifacts", help="REGION=AMI[,REGION=AMI...]")
    parser.add_argument("--by", required=True)
    parser.add_argument("--evidence", required=True)
    asked = parser.parse_args(arguments)
    places = [_ARTIFACT.fullmatch(one) for one in asked.artifacts.split(",")]
    verdict = {"verdict": _STATUS[asked.vote], "verdict-by": asked.by, "verdict-evidence": asked.evidence}
    tags: Any = [{"Key": f"reconciler:{name}", "Value": value[:_LONGEST_VALUE]} for name, value in verdict.items()]
    for place in places:
        if place is None:
            # CircleCI's parameters are short: an announcement of very many regions ends with an ellipsis.
            print(
                f"error: {asked.artifacts!r} is no whole list of REGION=AMI; use `reconciler verdict`", file=sys.stderr
            )
            return 2
    for place in filter(None, places):
        boto3.client("ec2", region_name=place[1]).create_tags(Resources=[place[2]], Tags=tags)
        print(f"{place[2]} in {place[1]}: {_STATUS[asked.vote]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
