"""Where the database comes from, on faked machines; and the libraries taken out of a wheel."""

import zipfile
from pathlib import Path

import database
import pytest
from database import Branch, Environment, Mongod, SetupError

MISSING = Mongod(Path("bin/mongod"), None, "bin/mongod: No such file or directory")
WORKING = Mongod(Path("bin/mongod"), (7, 0, 28))
OLD = Mongod(Path("/usr/bin/mongod"), (4, 4, 0))
LINUX = ("Linux", "x86_64", "glibc")


def fake_mongod(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def fake_wheel(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for content, name in members.items():
            archive.writestr(f"some.libs/{name}", content)
    return path


@pytest.mark.parametrize(
    ("environment", "branch"),
    [
        (Environment(*LINUX, WORKING), Branch.BUNDLED),
        (Environment(*LINUX, WORKING, WORKING, "mongodb://db"), Branch.BUNDLED),
        (Environment(*LINUX, MISSING, WORKING), Branch.ON_PATH),
        (Environment(*LINUX, MISSING, OLD, "mongodb://db"), Branch.URI),
        (Environment(*LINUX, MISSING), Branch.WHEEL),
        (Environment(*LINUX, MISSING, OLD), Branch.WHEEL),
        (Environment(*LINUX, OLD), Branch.WHEEL),
        (Environment("Linux", "x86_64", "", MISSING), Branch.UNSUPPORTED),
        (Environment("Linux", "aarch64", "glibc", MISSING), Branch.UNSUPPORTED),
        (Environment("Linux", "aarch64", "glibc", MISSING, WORKING), Branch.ON_PATH),
        (Environment("Darwin", "arm64", "", WORKING), Branch.BUNDLED),
        (Environment("Darwin", "x86_64", "", MISSING), Branch.UNSUPPORTED),
        (Environment("Windows", "AMD64", "", MISSING, uri="mongodb://db"), Branch.URI),
    ],
)
def test_choose_branch(environment: Environment, branch: Branch) -> None:
    assert database.choose_branch(environment) is branch


def test_prepare__unsupported_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment("Linux", "aarch64", "glibc", MISSING)
    monkeypatch.setattr(database, "inspect", lambda python: environment)
    with pytest.raises(
        SetupError, match=r"Linux aarch64: install MongoDB Community 6\.0"
    ) as caught:
        database.prepare(Path("python"))
    assert "\n" not in str(caught.value)


def test_prepare__links_the_mongod_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = fake_mongod(tmp_path / "mongod", "echo db version v7.0.1")
    place = tmp_path / "db" / "bin" / "mongod"
    environment = Environment(*LINUX, database.probe(place), database.probe(on_path))
    monkeypatch.setattr(database, "inspect", lambda python: environment)
    assert database.prepare(Path("python")) is Branch.ON_PATH
    assert database.probe(place) == Mongod(place, (7, 0, 1))


def test_prepare__bundled_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "inspect", lambda python: Environment(*LINUX, WORKING))
    assert database.prepare(Path("python")) is Branch.BUNDLED


def test_install_from_wheels__names_a_library_that_is_still_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "mongod: error while loading shared libraries: libcurl.so.4: cannot open"
    mongod = fake_mongod(tmp_path / "mongod", f"echo '{message}' >&2; exit 127")
    monkeypatch.setattr(database, "pip", lambda python, *arguments: None)
    with pytest.raises(SetupError, match=r"libcurl\.so\.4.*apt install libcurl4"):
        database.install_from_wheels(Path("python"), database.probe(mongod))


def test_probe__a_file_that_is_not_there(tmp_path: Path) -> None:
    found = database.probe(tmp_path / "mongod")
    assert not found.works
    assert "No such file" in found.error


def test_probe__a_wheel_built_without_mongod(tmp_path: Path) -> None:
    found = database.probe(fake_mongod(tmp_path / "mongod", "exit 3"))
    assert not found.works
    assert found.error.endswith("exit code 3")


def test_parse_version() -> None:
    assert database.parse_version("db version v6.0.27\nBuild Info") == (6, 0, 27)
    assert database.parse_version("error while loading shared libraries") is None


def test_lacks_openssl__from_the_loader_message() -> None:
    message = "mongod: error while loading shared libraries: libcrypto.so.1.1: cannot open"
    assert Mongod(Path("mongod"), None, message).lacks_openssl
    assert not MISSING.lacks_openssl


def test_extract_openssl__takes_both_libraries(tmp_path: Path) -> None:
    wheel = fake_wheel(
        tmp_path / "some.whl",
        ssl="libssl-0a1b.so.1.1",
        crypto="libcrypto-2c3d.so.1.1",
        krb5="libkrb5-4e5f.so.3.3",
    )
    assert database.extract_openssl(wheel, tmp_path) == "libcrypto-2c3d.so.1.1"
    assert (tmp_path / "libssl.so.1.1").read_bytes() == b"ssl"
    assert (tmp_path / "libcrypto.so.1.1").read_bytes() == b"crypto"


def test_extract_openssl__names_what_is_missing(tmp_path: Path) -> None:
    wheel = fake_wheel(tmp_path / "some.whl", ssl="libssl-0a1b.so.1.1")
    with pytest.raises(SetupError, match=r"some\.whl holds 0 libcrypto 1\.1, expected one"):
        database.extract_openssl(wheel, tmp_path)


def test_run_quietly__ends_in_the_last_line_of_the_output() -> None:
    with pytest.raises(SetupError, match=r"no such host$"):
        database.run_quietly(["sh", "-c", "echo trying >&2; echo no such host >&2; exit 1"])


@pytest.mark.parametrize(
    ("environment", "branch", "words"),
    [
        (Environment(*LINUX, WORKING), Branch.BUNDLED, "mongod 7.0.28, the mongod that came"),
        (Environment(*LINUX, WORKING), Branch.WHEEL, "the wheel fiftyone-db==0.4.5"),
        (Environment(*LINUX, MISSING), Branch.WHEEL, "not ready, set-up would use"),
        (Environment(*LINUX, MISSING, uri="mongodb://db"), Branch.URI, "FIFTYONE_DATABASE_URI"),
    ],
)
def test_describe(environment: Environment, branch: Branch, words: str) -> None:
    assert words in database.describe(environment, branch)
