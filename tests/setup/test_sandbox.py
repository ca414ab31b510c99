"""The demo and the tests leave the user's FiftyOne alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sandbox

USER = {
    "HOME": "/home/user",
    "FIFTYONE_DATABASE_URI": "mongodb://db",
    "FIFTYONE_DATABASE_NAME": "precious",
    "FIFTYONE_PLUGINS_DIR": "/home/user/plugins",
    "FIFTYONE_PRIVATE_DATABASE_PORT": "1234",
    "FIFTYONE_DEFAULT_APP_PORT": "5200",
}


def test_isolate__keeps_nothing_of_the_users_fiftyone_but_the_address(tmp_path: Path) -> None:
    isolated = sandbox.isolate(tmp_path, USER)
    assert isolated["HOME"] == "/home/user"
    assert isolated["FIFTYONE_DEFAULT_APP_PORT"] == "5200"
    assert isolated["FIFTYONE_PLUGINS_DIR"] == str(tmp_path / "plugins")
    assert "FIFTYONE_DATABASE_URI" not in isolated
    assert "FIFTYONE_DATABASE_NAME" not in isolated
    assert "FIFTYONE_PRIVATE_DATABASE_PORT" not in isolated


def test_shared_server__uses_a_database_of_the_folders_own(tmp_path: Path) -> None:
    first = sandbox.shared_server(tmp_path / "first", "mongodb://db")
    second = sandbox.shared_server(tmp_path / "second", "mongodb://db")
    assert first["FIFTYONE_DATABASE_URI"] == "mongodb://db"
    assert first["FIFTYONE_DATABASE_ADMIN"] == "false"
    assert first["FIFTYONE_DATABASE_NAME"] != second["FIFTYONE_DATABASE_NAME"]


def test_sandbox__this_session_runs_in_one() -> None:
    assert os.environ["FIFTYONE_DATABASE_URI"].startswith("mongodb://127.0.0.1:")
    assert Path(os.environ["FIFTYONE_DATABASE_DIR"]).parent.name.startswith("alphaclip-tests-")


def test_install_plugin__replaces_the_older_copy(tmp_path: Path) -> None:
    for _ in range(2):
        place = sandbox.install_plugin(sandbox.ROOT, tmp_path)
        assert sorted(path.name for path in place.iterdir()) == sorted(sandbox.PLUGIN_FILES)
        (place / "plugin" / "stale.py").write_text("")
    assert not any(tmp_path.glob("**/__pycache__"))


@pytest.mark.parametrize("code", [0, 3])
def test_run__returns_the_commands_exit_code(code: int) -> None:
    command = (
        f"import os, sys, sandbox; sys.exit(sandbox.run(['sh', '-c', 'exit {code}'], os.environ))"
    )
    scripts = Path(sandbox.__file__).parent
    assert subprocess.run([sys.executable, "-c", command], cwd=scripts).returncode == code
