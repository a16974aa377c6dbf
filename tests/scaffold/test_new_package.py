"""`dynbench new` writes a package that works as it is, with its own tests and suite."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copytree

import pytest

from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.scaffold.write import class_name, new_package
from dynbench.suite.read import parse_yaml, validate
from tests.conftest import Call, Cli

FILES = ["README.md", "my_method.py", "pyproject.toml", "suite.yaml", "tests/test_my_method.py"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    new_package("my_method", folder)
    return folder / "my_method"


@pytest.fixture(scope="module")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which it is installed."""
    target, source = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("source") / "my_method"
    copytree(package, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--no-build-isolation", "--no-compile"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    assert sorted(path.name for path in target.iterdir() if path.suffix == ".py") == ["my_method.py"]
    return {"PYTHONPATH": os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])}


def test_what_it_writes(call: Call, tmp_path: Path) -> None:
    result = call("new", "my_method", "--into", tmp_path / "deep")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "deep" / "my_method"
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert written == FILES
    assert result.output.splitlines()[:-1] == [f"wrote {folder / name}" for name in FILES]
    assert f"pip install -e {folder} && dynbench test my_method" in result.output
    assert not any("$" in (folder / name).read_text() for name in FILES)


def test_its_own_test_and_the_contract_pass(package: Path) -> None:
    """With the code of this folder, without an installation."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    result = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "passed" in result.stdout


def test_installed_it_is_tried_by_its_name(cli: Cli, installed: dict[str, str]) -> None:
    result = cli("test", "my_method", env=installed)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "does not apply  static" in result.stdout
    assert "  kept            audit" in result.stdout


def test_its_suite_ends_in_audited_points(cli: Cli, installed: dict[str, str], package: Path, tmp_path: Path) -> None:
    options = ("--results", "results", "--epochs", "1", "--no-latency", "--methods", "my_method")
    result = cli("run", package / "suite.yaml", *options, env=installed)
    assert result.returncode == 0, result.stdout + result.stderr
    (record,) = ResultsFolder(tmp_path / "results").records()
    assert (record.status, record.plugin) == ("finished", "dynbench-my-method 0.1.0")
    assert [point.name for point in record.points] == ["threshold=0.5", "threshold=0.8", "threshold=0.95"]
    assert all(point.audited for point in record.points)


def test_its_suite_is_valid(package: Path) -> None:
    suite, _ = validate(parse_yaml((package / "suite.yaml").read_text(), "suite.yaml"), "suite.yaml")
    assert [entry.name for entry in suite.methods] == ["dense", "dense", "my_method"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my-method", "cannot be a method's name; give lower-case words joined by _, for example my_method"),
        ("MyMethod", "cannot be a method's name"),
        ("2fast", "cannot be a method's name"),
        ("class", "cannot be a method's name"),
        ("", "cannot be a method's name"),
        ("../up", "cannot be a method's name"),
        ("lc_net", 'there is a method "lc_net" already, of dynbench'),
        ("json", 'there is a Python module "json" already'),
        ("torch", 'there is a Python module "torch" already'),
    ],
)
def test_names_that_it_refuses(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        new_package(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "my_method").mkdir()
    with pytest.raises(UserError, match="exists already; choose another name"):
        new_package("my_method", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*: Not a directory"):
        new_package("my_method", tmp_path / "file")


def test_names_of_classes() -> None:
    assert [class_name(name) for name in ("exit", "my_method", "l1_gate2")] == ["Exit", "MyMethod", "L1Gate2"]


def test_the_templates_are_in_the_wheel(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir"]
    subprocess.run([*pip, str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        found = {name.removeprefix("dynbench/scaffold/template/") for name in content.namelist() if "template/" in name}
    here = ROOT / "dynbench" / "scaffold" / "template"
    assert found == {str(path.relative_to(here)) for path in here.rglob("*.template")}
    assert len(found) == len(FILES)
