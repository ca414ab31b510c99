"""Jobs for schedulers: what a person submits can be read by the scheduler, and does the work."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.embedding.engines.job_scripts import job_script
from alphaclip.indexing.embedding.plans import Plan, make_plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan of nothing, in a folder that a shell has to quote."""
    settings = {"field": "f", "fingerprint": "e"}
    return make_plan(tmp_path / "my plan", [], settings, to_files=True)


def test_slurm__is_a_script_that_does_the_work(plan: Plan, tmp_path: Path) -> None:
    script = job_script(plan.folder, "slurm", 64, 0.5, {"/data": "/mnt/my data"})
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert {"#SBATCH --array=1-64", "#SBATCH --requeue", "#SBATCH --gpus-per-task=1"} < {*lines}
    path, tools = tmp_path / "job.sh", tmp_path / "tools"
    path.write_text(script)
    tools.mkdir()
    for name in ("srun", "alphaclip"):  # One runs what it is given, the other says what that is
        tool = tools / name
        body = 'exec "$@"' if name == "srun" else "printf '%s\\n' \"$@\""
        tool.write_text(f"#!/bin/bash\n{body}\n")
        tool.chmod(0o755)
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "3"}
    bash = str(shutil.which("bash"))
    done = subprocess.run([bash, path], env=environment, capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert words == [
        "index", "embed", str(plan.folder), "--any", "--map", "/data=/mnt/my data",
    ]  # fmt: skip


def test_kubernetes__is_a_job(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    names = ["--image", "registry.example/alphaclip:1", "--claim", "shared-data"]
    arguments = ["--engine", "kubernetes", "--workers", "8", "--gpus-per-worker", "1", *names]
    assert main(["index", "script", str(plan.folder), *arguments]) == 0
    job = yaml.safe_load(capsys.readouterr().out)
    assert (job["kind"], job["spec"]["completionMode"]) == ("Job", "Indexed")
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 8
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container["image"] == "registry.example/alphaclip:1"
    assert container["command"] == ["alphaclip", "index", "embed", str(plan.folder), "--any"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["volumeMounts"][0]["mountPath"] == str(plan.folder)
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "shared-data"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "image is None: name the image"),
        ({"image": "a b", "claim": "c"}, "image is 'a b'"),
        ({"image": "a", "claim": "C}"}, "claim is 'C}'"),
        ({"workers": 0}, "workers is 0"),
        ({"gpus_per_worker": -1}, "gpus_per_worker is -1"),
        ({"paths": {"data": "/mnt"}}, "expected absolute folders"),
    ],
)
def test_script__refuses(plan: Plan, options: dict, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        job_script(plan.folder, "kubernetes", **{"workers": 2, **options})


def test_script__of_folders_with_odd_names(plan: Plan) -> None:
    odd = plan.folder.rename(plan.folder.with_name('a "b" \\ $c'))
    job = yaml.safe_load(job_script(odd, "kubernetes", 2, image="i", claim="c"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][3] == container["volumeMounts"][0]["mountPath"] == str(odd)
    lines = odd.rename(odd.with_name("a\nrm -rf x"))
    with pytest.raises(AlphaClipError, match="would end a line of the script"):
        job_script(lines, "slurm", 2)
