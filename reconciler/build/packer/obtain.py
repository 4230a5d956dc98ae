"""A Packer where there is none, and the plugins that it needs: what to look for, in which order, and what to say."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reconciler.build.packer import versions
from reconciler.build.packer.binary import (
    INSTALL,
    PROGRAM,
    Binary,
    Misconfigured,
    entry_of,
    examine,
    usable,
    version_text,
)
from reconciler.build.packer.cache import (
    Tell,
    cache_folder,
    locked,
    made_entry,
    made_folder,
    make_folders,
    told_plainly,
    unfinished,
)
from reconciler.build.packer.diagnosis import cause
from reconciler.build.packer.modules import Module, build
from reconciler.build.packer.plugins import Plugin, installed_plugins, plugin_folder, with_plugins
from reconciler.build.packer.releases import archive_has, download, install
from reconciler.model.errors import ReconcilerError, Transient, UserError

CURRENT = Module(
    "github.com/hashicorp/packer",
    version_text(versions.CURRENT),
    "h1:+e9/aNeyZuEGm9fGre3wfg2BNnj1AQj5HzboO4iEYuY=",
    "h1:1lZlSPc3XKtCPsLH5v5/mjJYULB3FIO4kIZfJfzLx+8=",
)
PLUGINS: Mapping[str, Module] = {
    # Not 1.8.0 or 1.8.1: they are built with golang.org/x/crypto 0.52.0, in which the keepalive of an SSH session that
    # ended spins at over 100 % of a CPU, so that each script takes 20 s (seen: a build of 43 s took over 5 minutes).
    "amazon": Module(
        "github.com/hashicorp/packer-plugin-amazon",
        "1.8.2",
        "h1:fNNWpbfky9+KY9+qZWgfTGjdDUOvVag8rC3gEUWkjOY=",
        "h1:nBjGaEgepv/0k2dwaTo5mLcPAyslnMGnYb2Fju97kEs=",
    ),
    "ansible": Module(
        "github.com/hashicorp/packer-plugin-ansible",
        "1.1.2",
        "h1:J4xtCW9jAgIWHbJKpDiNwhRuaf9EjwMv/Hj25qIvWMg=",
        "h1:Iy29oIFbzhqwhn9v8HDujWf7Ur5FZgv43hwXTNkLAuc=",
    ),
    "docker": Module(
        "github.com/hashicorp/packer-plugin-docker",
        "1.1.2",
        "h1:Ogla1qOzImBp/WM5L7HBdmIntN9DcqDy4H88nf0HilE=",
        "h1:/ve1aZyC/GR2LnN7axIMWin5Qxz/aHTcgdf9gPOosW4=",
    ),
    "vsphere": Module(
        "github.com/hashicorp/packer-plugin-vsphere",
        "1.4.2",
        "h1:GPKA6THljryV7HdUMgb+scAsjR7efYVP2MG28D/STXk=",
        "h1:iaPexV5mVVAqOeqroLKVrLyktOJ+bHgrG3CYbBA+jfM=",
    ),
}
"""The plugins that can be got. Not qemu's: its modules are on no mirror, and its own host is all that has it."""
NEEDED_HERE = ("amazon", "ansible")
"""What the images of this repository need."""

Origin = Literal["PATH", "cache", "archive", "release", "modules"]
_PLUGIN_SECONDS = 300
_NO_PLACE = "there is no place to keep Packer in: neither XDG_CACHE_HOME nor HOME is set"


@dataclass(frozen=True)
class Obtained:
    """A Packer that can be used, where it is from, and the plugins that were asked for, by name.

    `environment` is what has to be set for it, and for them, to be found.
    """

    binary: Binary
    origin: Origin
    plugins: Mapping[str, Plugin]
    environment: Mapping[str, str]


def obtain(
    environment: Mapping[str, str], *, tell: Tell, current: bool = False, plugins: Sequence[str] = NEEDED_HERE
) -> Obtained:
    """Find Packer and these of the `PLUGINS`, or get what is missing. `current` asks for `CURRENT` or a later one.

    Looked at are, in this order: the PATH, the cache, the system's archive (not for `current`), HashiCorp's release,
    and the Go modules. Whatever is of no use is told of. Plugins are installed where this Packer looks for them.

    Raises:
        UserError: nothing worked, the cache is somebody else's, a Packer that is there can't read its settings, or no
            plugin can be kept where this one would look for it; of one that is to be made, before that is begun.
    """
    found = _find(environment, tell, current=current)
    binary, origin = found or _get(environment, tell, current=current, plugins=bool(plugins))
    set_to: dict[str, str] = {}
    if shutil.which("packer", path=environment.get("PATH", os.defpath)) != binary.path:
        set_to["PATH"] = os.pathsep.join([str(Path(binary.path).parent), environment.get("PATH", os.defpath)])
    if binary.version < versions.PLUGINS_APART or not plugins:
        return Obtained(binary, origin, {}, set_to)
    folder = plugin_folder(binary, with_plugins(binary, environment))
    if folder is None:
        raise UserError(_NO_PLACE)
    set_to["PACKER_PLUGIN_PATH"] = str(folder)
    for name in plugins:
        if name not in _installed(binary, {**environment, **set_to}):
            _install_plugin(binary, name, folder, environment, tell)
    installed = _installed(binary, {**environment, **set_to})
    for name in plugins:
        if name not in installed:
            what = f"{binary.path} does not list the plugin {name}, which it was given"
            raise UserError(what, hint=("it may be another program that answers as Packer does", INSTALL))
    return Obtained(binary, origin, {name: installed[name] for name in plugins}, set_to)


def _find(environment: Mapping[str, str], tell: Tell, *, current: bool) -> tuple[Binary, Origin] | None:
    oldest = versions.CURRENT if current else ()
    try:
        for binary in usable(environment, lambda error: tell(f"passed over: {error.what}")):
            if binary.version >= oldest:
                kept = cache_folder(environment)
                return binary, "cache" if kept is not None and Path(binary.path).is_relative_to(kept) else "PATH"
    except Misconfigured:
        raise
    except UserError as error:  # an entry of the cache is damaged
        tell(f"{error.what}; it is made anew")
    return None


def _get(environment: Mapping[str, str], tell: Tell, *, current: bool, plugins: bool) -> tuple[Binary, Origin]:
    """Get a Packer in the first way that works. `plugins` says that it will be given some."""
    ways: dict[Origin, Callable[[], Binary]] = {
        "archive": lambda: _from_archive(environment, tell),
        "release": lambda: _keep(environment, lambda into: download(CURRENT.version, into, tell=tell)),
        "modules": lambda: _keep(environment, lambda into: build(CURRENT, into, PROGRAM, environment, tell=tell)),
    }
    if current:
        del ways["archive"]
    cache = cache_folder(environment)
    if cache is None:
        raise UserError(_NO_PLACE)
    failed: list[str] = []
    with locked(made_folder(cache), tell=tell):
        found = _find(environment, lambda _: None, current=current)
        if found is not None:  # whoever had the lock got it
            return found
        for origin, way in ways.items():
            if plugins and origin != "archive":
                with_plugins(Binary(PROGRAM, versions.CURRENT), environment)  # minutes before it is there
            try:
                return way(), origin
            except ReconcilerError as error:
                tell(error.what)
                failed += [error.what, *error.hint]
    raise UserError("Packer could not be had", hint=(*failed, "install it by hand, and put it on the PATH"))


def _from_archive(environment: Mapping[str, str], tell: Tell) -> Binary:
    if archive_has(PROGRAM, environment) is None:
        raise Transient("this system's archive has no Packer, or this user may not install it")
    install(PROGRAM, environment, tell)
    found = _find(environment, tell, current=False)
    if found is None:
        raise Transient("what the archive has as packer is not on the PATH, or is another program")
    return found[0]


def _keep(environment: Mapping[str, str], make: Callable[[Path], None]) -> Binary:
    """Make the current Packer, see that it runs, and keep it."""
    cache = cache_folder(environment)
    if cache is None:
        raise UserError(_NO_PLACE)
    with made_entry(cache, entry_of(CURRENT.version), PROGRAM) as made:
        make(made)
        (made / PROGRAM).chmod(0o755)
        examine(str(made / PROGRAM), environment)
    return examine(str(cache / entry_of(CURRENT.version) / PROGRAM), environment)


def _installed(binary: Binary, environment: Mapping[str, str]) -> dict[str, Plugin]:
    """The newest of each plugin that is installed; `packer plugins installed` lists them from old to new."""
    return {plugin.name: plugin for plugin in installed_plugins(binary, environment)}


def _install_plugin(binary: Binary, name: str, folder: Path, environment: Mapping[str, str], tell: Tell) -> None:
    """Put a plugin into Packer's folder: from its own host, else built from its Go module."""
    cache, module = cache_folder(environment), PLUGINS[name]
    if cache is None:
        raise UserError(_NO_PLACE)
    source = f"github.com/hashicorp/{name}"
    with locked(made_folder(cache), tell=tell), unfinished(cache) as made:
        laid_out = made / "plugins"
        command = (binary.path, "plugins", "install")
        inside = {**environment, "PACKER_PLUGIN_PATH": str(laid_out)}
        tell(f"installing the plugin {name} {module.version}")
        refused = _run((*command, source, module.version), inside)
        if refused:
            tell(f"Packer could not fetch it: {refused}")
            built = f"packer-plugin-{name}"
            build(module, made, built, environment, tell=tell)
            refused = _run((*command, "--path", str(made / built), source), inside)
        if refused:
            raise UserError(f"Packer {binary.version_text} does not take the plugin {name}: {refused}")
        with locked(folder, tell=tell):
            _publish(laid_out, folder)


def _publish(laid_out: Path, folder: Path) -> None:
    """Move plugins to where they are looked for, each program before its checksum, without which it does not count."""
    with told_plainly(folder):
        for file in sorted((one for one in laid_out.rglob("*") if one.is_file()), key=lambda one: len(one.name)):
            target = folder / file.relative_to(laid_out)
            make_folders(target.parent)
            beside = target.with_name(f".{target.name}")  # the folder may be on another disk
            shutil.copy2(file, beside)
            beside.replace(target)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command of Packer that installs. Returns why it failed, empty if it did not."""
    try:
        ended = subprocess.run(
            command, env={**environment, "CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_PLUGIN_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it did not end within {_PLUGIN_SECONDS // 60} minutes"
    said = ended.stdout.decode(errors="replace")
    return "" if ended.returncode == 0 else cause([said]) or f"exit code {ended.returncode}"
