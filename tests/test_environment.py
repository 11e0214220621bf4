"""One truth for dependencies: pyproject says what is needed, the lock what is installed, conda users get the lock."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from projects import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def pins():
    found = {}
    for line in LOCK:
        if not line.startswith("#") and line.strip():
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            found[canonicalize_name(requirement.name)] = Version(pin.version)
    return found


def direct():
    """Every requirement of the project and its extras, without references among extras."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    found = [Requirement(line) for group in groups for line in group]
    return [requirement for requirement in found if canonicalize_name(requirement.name) != "tcmax"]


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_every_direct_requirement_is_met_by_a_pin(requirement):
    pin = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin)


def test_every_line_of_the_lock_is_one_exact_pin():
    names = [canonicalize_name(re.split("==", line)[0]) for line in LOCK if line.strip() and not line.startswith("#")]
    assert len(names) == len(set(names))
    assert pins()["torch"] == Version("2.11.0")
    assert pins()["torchvision"] == Version("0.26.0")
    assert pins()["torchaudio"] == Version("2.11.0")


def test_the_lock_names_no_host_and_no_path():
    for line in LOCK:
        assert not re.search(r"://|--(extra-)?index|--find-links|@ |^-e|^/", line), line


def conda_pip():
    return next(entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))


def test_conda_users_get_the_same_lock_and_the_project():
    assert conda_pip() == ["-r requirements.lock", "-e ."]
    plain = [entry for entry in CONDA["dependencies"] if isinstance(entry, str)]
    assert {re.split("[=<>]", entry)[0] for entry in plain} == {"python", "pip"}  # nothing that pip installs too
    assert CONDA["channels"] == ["conda-forge"]


def test_condas_python_is_one_the_project_supports():
    (python,) = [entry for entry in CONDA["dependencies"] if isinstance(entry, str) and entry.startswith("python=")]
    version = Version(f"{python.partition('=')[2]}.5")
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert not SpecifierSet(PROJECT["requires-python"]).contains(Version("3.10.9"))


def test_extras_build_on_each_other_and_each_serves_one_need():
    extras = PROJECT["optional-dependencies"]
    names = {extra: {canonicalize_name(Requirement(line).name) for line in lines} for extra, lines in extras.items()}
    assert names["loss"] == {"torch"}
    assert not names["stats"] & {"torch", "torchvision", "torchaudio", "snakemake"}
    assert "tcmax[loss]" in extras["train"]
    assert "tcmax[train]" in extras["media"]
    assert "tcmax[train]" in extras["clip"]
    assert set(Requirement(extras["all"][0]).extras) == {"stats", "train", "media", "clip"}
    core = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert not core & {"torch", "snakemake", "pandas", "scipy", "matplotlib"}


def test_the_installed_packages_are_the_locked_ones():
    from importlib.metadata import version

    for name in (
        "torch",
        "numpy",
        "pandas",
        "pyarrow",
        "snakemake",
        "pydantic",
        "av",
        "opencv-python-headless",
        "open-clip-torch",
    ):
        assert Version(version(name)).public == pins()[name].public, name
