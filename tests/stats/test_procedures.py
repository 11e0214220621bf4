import subprocess
import sys
from importlib import import_module

from tcmax.stats import PROCEDURES


def test_every_procedure_of_the_table_exists_and_is_documented():
    for place in PROCEDURES.values():
        module, name = place.split(":")
        assert getattr(import_module(module), name).__doc__


def test_every_procedure_loads_without_torch_pandas_or_statsmodels():
    modules = sorted({place.split(":")[0] for place in PROCEDURES.values()})
    code = f"import sys, importlib\nfor m in {modules}: importlib.import_module(m)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pandas", "statsmodels", "matplotlib", "scipy.stats"} & set(loaded)
