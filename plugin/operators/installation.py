"""
What the App offers while the Python package is missing or of another version than the plugin.

FiftyOne copies a plugin's folder and never puts it on ``sys.path``, so everything that works on
regions is in a package that has to be installed beside it.
"""

import os
import shlex
import subprocess
import sys
from importlib import metadata

import fiftyone.operators as foo
import fiftyone.operators.types as types
import fiftyone.plugins as fop

PACKAGE = "alphaclip-fiftyone"


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


def install_command(plugin_directory):
    """Builds the command that installs the package that came with the plugin.

    Args:
        plugin_directory: the folder that holds the plugin's ``fiftyone.yml``

    Returns:
        one line for the shell of the machine on which the App's server runs
    """
    arguments = [sys.executable, "-m", "pip", "install", plugin_directory]
    return subprocess.list2cmdline(arguments) if os.name == "nt" else shlex.join(arguments)


class FinishInstallation(foo.Operator):
    """Says what to run so that the plugin's other operators appear."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="finish_installation",
            label="Region search: finish the installation",
            description="Shows the command that installs the package which this plugin needs",
            light_icon="/assets/search-light.svg",
            dark_icon="/assets/search-dark.svg",
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_placement(self, ctx):
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(
                label=self.config.label,
                light_icon=self.config.light_icon,
                dark_icon=self.config.dark_icon,
            ),
        )

    def resolve_input(self, ctx):
        plugin = fop.get_plugin(self.plugin_name)
        inputs = types.Object()
        inputs.view(
            "problem",
            types.Warning(
                label=find_problem(plugin.version),
                description=(
                    "Run this on the machine where the App's server runs, then start the App anew:"
                ),
            ),
        )
        inputs.str(
            "command",
            default=install_command(plugin.directory),
            view=types.CodeView(language="shell", read_only=True),
        )
        prompt = types.PromptView(label=self.config.label, submit_button_label="Done")
        return types.Property(inputs, view=prompt)

    def execute(self, ctx):
        plugin = fop.get_plugin(self.plugin_name)
        return {
            "problem": find_problem(plugin.version),
            "command": install_command(plugin.directory),
        }
