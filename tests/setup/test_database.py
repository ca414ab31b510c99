"""Which database is taken, on faked machines; and the libraries taken out of a wheel."""

import zipfile
from pathlib import Path

import database
import pytest
from database import Branch, Environment, Mongod

MISSING = Mongod(Path("bin/mongod"), None, "bin/mongod: No such file or directory")
WORKING = Mongod(Path("bin/mongod"), (7, 0, 28))
OLD = Mongod(Path("/usr/bin/mongod"), (4, 4, 0))
LINUX = ("Linux", "x86_64", "glibc")


@pytest.mark.parametrize(
    ("environment", "branch"),
    [
        (Environment(*LINUX, WORKING), Branch.BUNDLED),
        (Environment(*LINUX, WORKING, WORKING, "mongodb://db"), Branch.BUNDLED),
        (Environment(*LINUX, MISSING, WORKING), Branch.ON_PATH),
        (Environment(*LINUX, MISSING, OLD, "mongodb://db"), Branch.URI),
        (Environment(*LINUX, MISSING, OLD), Branch.WHEEL),
        (Environment("Linux", "x86_64", "musl", MISSING), Branch.UNSUPPORTED),
        (Environment("Linux", "aarch64", "glibc", MISSING), Branch.UNSUPPORTED),
        (Environment("Darwin", "arm64", "", WORKING), Branch.BUNDLED),
    ],
)
def test_choose_branch(environment: Environment, branch: Branch) -> None:
    assert database.choose_branch(environment) is branch


def test_parse_version() -> None:
    assert database.parse_version("db version v6.0.27\nBuild Info") == (6, 0, 27)
    assert database.parse_version("error while loading shared libraries") is None


def test_lacks_openssl__from_the_loader_message() -> None:
    message = "mongod: error while loading shared libraries: libcrypto.so.1.1: cannot open"
    assert Mongod(Path("mongod"), None, message).lacks_openssl
    assert not MISSING.lacks_openssl


def test_extract_openssl__takes_both_libraries(tmp_path: Path) -> None:
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some.libs/libssl-0a1b.so.1.1", b"ssl")
        archive.writestr("some.libs/libcrypto-2c3d.so.1.1", b"crypto")
    assert database.extract_openssl(wheel, tmp_path) == "libcrypto-2c3d.so.1.1"
    assert (tmp_path / "libssl.so.1.1").read_bytes() == b"ssl"
    assert (tmp_path / "libcrypto.so.1.1").read_bytes() == b"crypto"


def test_extract_openssl__names_what_is_missing(tmp_path: Path) -> None:
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some.libs/libssl-0a1b.so.1.1", b"ssl")
    with pytest.raises(database.SetupError, match="holds 0 libcrypto"):
        database.extract_openssl(wheel, tmp_path)


def test_probe__a_file_that_does_not_run(tmp_path: Path) -> None:
    found = database.probe(tmp_path / "mongod")
    assert not found.works
    assert "mongod" in found.error
