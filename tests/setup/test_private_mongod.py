"""A mongod of one's own, run for real."""

import subprocess
import sys
from pathlib import Path

import database
import psutil
import pymongo
import pytest
from private_mongod import find_error, find_port, serve

MONGOD = database.bundled_path(Path(sys.executable))
LISTENING = '{"t":{},"s":"I","msg":"Waiting for connections","attr":{"port":40123,"ssl":"off"}}'
FAILED = '{"t":{},"s":"E","msg":"DBException in initAndListen","attr":{"error":"DBPathInUse"}}'


def running_on(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "mongod" and str(folder) in (process.info["cmdline"] or [])
    ]


def test_serve__answers_while_it_is_open_and_keeps_its_data(tmp_path: Path) -> None:
    for count in (1, 2):
        with serve(MONGOD, tmp_path) as uri, pymongo.MongoClient(uri) as client:
            client.test.numbers.insert_one({"number": count})
            assert client.test.numbers.count_documents({}) == count
            assert len(running_on(tmp_path)) == 1
        assert running_on(tmp_path) == []


def test_serve__a_folder_in_use(tmp_path: Path) -> None:
    second = pytest.raises(database.SetupError, match=r"mongod did not start .*mongod\.log")
    with serve(MONGOD, tmp_path), second, serve(MONGOD, tmp_path):
        pass


def test_serve__ends_with_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from private_mongod import serve\n"
        "with serve(Path(sys.argv[1]), Path(sys.argv[2])):\n"
        "    print('open', flush=True); time.sleep(600)"
    )
    scripts = Path(database.__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", code, MONGOD, tmp_path], stdout=subprocess.PIPE, cwd=scripts
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        mongods = running_on(tmp_path)
        process.kill()
    assert len(mongods) == 1
    assert psutil.wait_procs(mongods, timeout=60)[1] == []


def test_find_port__in_the_log() -> None:
    assert find_port(f"about to fork\n{LISTENING}\n") == 40123
    assert find_port(LISTENING[:-20]) is None


def test_find_error__in_the_log() -> None:
    assert find_error(f"{LISTENING}\n{FAILED}\n") == "DBPathInUse"
    assert find_error(LISTENING) == "no error in its log"
