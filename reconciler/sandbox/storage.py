"""What is on the disks: layers of files, stacked on the sandbox's own Debian (`system`), which is only ever read.

An image is a chain of layers, oldest first. An instance adds one writable layer on top of its image's chain;
an image made from the instance keeps that layer. All of it lives on a tmpfs that only the sandbox sees and that
vanishes with it. The process works inside that tmpfs, as mount(2) takes one page of options: with relative
paths some hundred layers fit.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path

from reconciler.sandbox import kernel

Chain = tuple[str, ...]

_SYSTEM = Path("s")
_LAYERS = Path("l")
_INSTANCES = Path("i")


class Storage:
    """Keeps layers, and forgets those that no image and no instance stands on."""

    def __init__(self, directory: Path, *, system: Path) -> None:
        """Mount the tmpfs on `directory`/disks, and work from inside it. `system` is the root that all stand on."""
        self._mounted_on = directory / "disks"
        self._mounted_on.mkdir(exist_ok=True)
        kernel.mount("sandbox", self._mounted_on, kind="tmpfs", options="mode=0755")
        os.chdir(self._mounted_on)
        _SYSTEM.mkdir()
        kernel.mount(str(system), _SYSTEM, flags=kernel.MS_BIND)
        kernel.mount(None, _SYSTEM, flags=kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY)
        _LAYERS.mkdir()
        _INSTANCES.mkdir()
        self._numbers = itertools.count()
        self._images: dict[str, Chain] = {}
        self._disks: dict[str, Chain] = {}

    def close(self) -> None:
        """Unmount the tmpfs and remove the folder it was mounted on."""
        os.chdir("/")
        kernel.unmount(self._mounted_on)
        self._mounted_on.rmdir()

    def new_layer(self) -> tuple[str, Path]:
        """Make an empty layer; return its name and its folder."""
        name = str(next(self._numbers))
        folder = _LAYERS / name
        folder.mkdir()
        return name, folder.absolute()

    def chain_of(self, image_id: str) -> Chain:
        """The layers of an image, oldest first; those of no image are none."""
        return self._images.get(image_id, ())

    def keep_image(self, image_id: str, chain: Chain) -> None:
        """Let the image stand on these layers."""
        self._images[image_id] = chain

    def forget_image(self, image_id: str) -> None:
        """Let go of an image, and of the layers that only it stood on."""
        self._images.pop(image_id, None)
        self._sweep()

    def add_disk(self, instance_id: str, image_id: str) -> None:
        """Give an instance an empty disk on top of the image."""
        self._disks[instance_id] = self.chain_of(image_id)
        for part in ("upper", "work", "root"):
            (_INSTANCES / instance_id / part).mkdir(parents=True)

    def remove_disk(self, instance_id: str) -> None:
        """Throw an instance's disk away. It must not be mounted."""
        if self._disks.pop(instance_id, None) is not None:
            shutil.rmtree(_INSTANCES / instance_id, ignore_errors=True)
            self._sweep()

    def mount_disk(self, instance_id: str) -> Path:
        """Mount an instance's disk; return the folder that is its root."""
        chain = self._disks[instance_id]
        lower = ":".join([*(f"{_LAYERS / name}" for name in reversed(chain)), f"{_SYSTEM}"])
        disk = _INSTANCES / instance_id
        # Folders that come with the image can be renamed inside the instance, as on a disk (redirect_dir).
        options = f"lowerdir={lower},upperdir={disk / 'upper'},workdir={disk / 'work'}"
        root = (disk / "root").absolute()
        kernel.mount("sandbox", root, kind="overlay", options=f"{options},redirect_dir=on,index=off,metacopy=off")
        return root

    def snapshot(self, instance_id: str, image_id: str, *, mounted: bool) -> None:
        """Make an image of an instance's disk."""
        upper = _INSTANCES / instance_id / "upper"
        name, layer = self.new_layer()
        if mounted:
            # cp keeps what an overlay's layer needs: device nodes that hide files, and trusted.* attributes.
            subprocess.run(["cp", "-a", "--", f"{upper}/.", str(layer)], check=True)
            self.keep_image(image_id, (*self._disks[instance_id], name))
            return
        # Nobody writes to it: the layer itself becomes the image's, and the instance goes on above it.
        layer.rmdir()
        upper.rename(layer)
        upper.mkdir()
        self._disks[instance_id] = (*self._disks[instance_id], name)
        self.keep_image(image_id, self._disks[instance_id])

    def _sweep(self) -> None:
        used = {name for chain in (*self._images.values(), *self._disks.values()) for name in chain}
        for folder in _LAYERS.iterdir():
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)
