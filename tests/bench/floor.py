"""The floor: the same DescribeImages calls as a no-op plan makes, by bare boto3, and nothing else.

python floor.py FLEET REGION…
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import boto3


def main(fleet: str, regions: list[str]) -> None:
    """Read every page of every region, regions at the same time, and print how many images there are."""
    session = boto3.Session()
    # One after the other: making clients is not thread-safe.
    clients = [session.client("ec2", region_name=region) for region in regions]

    def read(place: int) -> int:
        pages = (
            clients[place]
            .get_paginator("describe_images")
            .paginate(
                Owners=["self"],
                Filters=[{"Name": "tag:reconciler:fleet", "Values": [fleet]}],
                IncludeDisabled=True,
                PaginationConfig={"PageSize": 1000},
            )
        )
        return sum(len(page["Images"]) for page in pages)

    with ThreadPoolExecutor(max_workers=len(regions)) as pool:
        sys.stdout.write(f"{sum(pool.map(read, range(len(regions))))} images\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
