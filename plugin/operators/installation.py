"""What the App offers while the Python package is missing or of another version than the plugin.

FiftyOne copies a plugin's folder and never puts it on ``sys.path``, so everything that works on
regions is in a package that has to be installed beside it. It may be missing here, so this file
imports nothing of it.
"""

import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import fiftyone.operators as foo
import fiftyone.operators.types as types
import fiftyone.plugins as fop

PACKAGE, ICON = "alphaclip-fiftyone", "build"
NOT_SET = ".invalid/"
"""In the address of a repository that nobody has set yet; see ``scripts/release_check.py``."""

WHERE = "Run this on the machine where the App's server runs, then start the App anew:"
NO_PACKAGE = "The package did not come with this copy of the plugin. Clone the whole repository. "


def find_problem(plugin_version):
    """Compares the installed package with the plugin.

    Args:
        plugin_version: the version in the plugin's ``fiftyone.yml``

    Returns:
        what is wrong, in one sentence, or an empty string
    """
    try:
        installed = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "The Python package %s is not installed." % PACKAGE

    if installed != plugin_version:
        return "The plugin is version %s, the installed Python package %s is version %s." % (
            plugin_version,
            PACKAGE,
            installed,
        )

    return ""


def how_to_install(plugin_directory):
    """Says how to install the package of the plugin's version. What comes with the plugin is taken
    first, then the repository, and never the package's bare name, which a stranger could own.

    Args:
        plugin_directory: the folder that holds the plugin's ``fiftyone.yml``

    Returns:
        what to do, and one line for the shell
    """
    folder = Path(plugin_directory)
    if (folder / "pyproject.toml").is_file():
        return WHERE, _pip_install(str(folder))

    requirement = _requirement(folder / "requirements.txt")
    if requirement and NOT_SET not in requirement:
        return WHERE, _pip_install(requirement)

    return NO_PACKAGE + WHERE, _pip_install("PATH-OF-THE-CLONE")


class FinishInstallation(foo.Operator):
    """Says what to run so that the plugin's other operators appear."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="finish_installation",
            label="Region search: finish the installation",
            description="Shows the command that installs the package which this plugin needs",
            icon=ICON,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_placement(self, ctx):
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(
                label=self.config.label,
                icon=ICON,
            ),
        )

    def resolve_input(self, ctx):
        told = self.execute(ctx)
        inputs = types.Object()
        problem = types.Warning(label=told["problem"], description=told["what_to_do"])
        inputs.view("problem", problem)
        inputs.str(
            "command",
            default=told["command"],
            view=types.CodeView(language="shell", read_only=True),
        )
        prompt = types.PromptView(label=self.config.label, submit_button_label="Done")
        return types.Property(inputs, view=prompt)

    def execute(self, ctx):
        plugin = fop.get_plugin(self.plugin_name)
        what_to_do, command = how_to_install(plugin.directory)
        problem = find_problem(plugin.version)
        return {"problem": problem, "what_to_do": what_to_do, "command": command}


def _requirement(path):
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return next((line for line in lines if line.startswith(PACKAGE)), None)


def _pip_install(what):
    arguments = [sys.executable, "-m", "pip", "install", what]
    return subprocess.list2cmdline(arguments) if os.name == "nt" else shlex.join(arguments)
