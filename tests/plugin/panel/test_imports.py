"""What the panel loads, and when."""

import json
import subprocess
import sys
from pathlib import Path

from alphaclip.indexing import build

DRIVER = Path(__file__).with_name("panel_driver.py")

OPEN_AND_SEARCH = """
import importlib.util, json, sys
import fiftyone as fo

name, plugins, driver = sys.argv[1:]
fo.config.plugins_dir = plugins
spec = importlib.util.spec_from_file_location("panel_driver", driver)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
told = {}

def note(step):
    told[step] = [heavy for heavy in ("torch", "faiss") if heavy in sys.modules]

panel = module.PanelDriver(fo.load_dataset(name))
panel.do("about")
note("opened")
told["error"] = panel.search("a square").get("error")
note("searched")
told["hits"] = len(panel.hits)
print(json.dumps(told))
"""


def test_panel__loads_neither_torch_nor_faiss_before_it_searches(drawings, plugins_dir):
    build(drawings, "shapes", encoder="alphaclip-nano")
    drawings.persistent = True
    command = [sys.executable, "-c", OPEN_AND_SEARCH, drawings.name, plugins_dir, DRIVER]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert (told["error"], told["opened"]) == (None, [])
    assert told["searched"] == ["torch", "faiss"]
    assert told["hits"] == 24
