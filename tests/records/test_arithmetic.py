"""The arithmetic: fixed before torch and numpy load whatever the surroundings say, checked, recorded, kept apart."""

import os
import subprocess
import sys
from importlib import metadata

import numpy
import pytest
import torch
from typer.testing import CliRunner

from tcmax.cli import app
from tcmax.errors import TcmaxError
from tcmax.records import arithmetic, provenance

HOSTILE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "AUTO",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_ENABLE_CPU_FEATURES": "X86_V3",
    "OMP_NUM_THREADS": "2",
}
needs_portable = pytest.mark.skipif(
    arithmetic.lacking() is not None or sys.platform != "linux", reason=f"not {arithmetic.PORTABLE}"
)


def doctor(**environment: str) -> str:
    """What the console script says it computes in, started where nothing of it is set but `environment`."""
    kept = {name: value for name, value in os.environ.items() if name not in arithmetic.variables()}
    command = [sys.executable, "-c", "from tcmax.cli import main; import sys; sys.argv = ['tcmax', 'doctor']; main()"]
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("Arithmetic\n")[2].partition("Data\n")[0]


@needs_portable
def test_the_tests_run_in_the_portable_arithmetic() -> None:
    assert arithmetic.mode() == arithmetic.PORTABLE
    assert arithmetic.differences() == []
    assert torch.backends.cpu.get_cpu_capability() == "AVX2"
    assert not any(numpy._core._multiarray_umath.__cpu_features__[name] for name in ("X86_V3", "X86_V4"))
    assert {"torch", "MKL", "numpy"} <= set(arithmetic.paths())


@needs_portable
def test_the_command_line_fixes_its_arithmetic_whatever_was_set_before() -> None:
    hostile = doctor(**HOSTILE)
    assert arithmetic.PORTABLE in hostile
    assert hostile == doctor()
    native = doctor(TCMAX_ARITHMETIC="native", ATEN_CPU_CAPABILITY="default")
    assert arithmetic.PORTABLE not in native
    assert "DEFAULT" in native


@needs_portable
def test_probes_tell_arithmetics_apart_and_fixing_makes_them_equal() -> None:
    program = "from tcmax.records import arithmetic as a{}; import numpy, torch; print(a.probe())"

    def probe(fix: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program.format(fix)],
            env={**os.environ, **HOSTILE, "NPY_DISABLE_CPU_FEATURES": "", "NPY_ENABLE_CPU_FEATURES": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert probe("; a.fix()") != probe("")


def test_variables_are_set_over_what_was_there_and_its_opposites_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**HOSTILE, "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"})
    monkeypatch.setattr(arithmetic, "lacking", lambda: None)
    arithmetic.fix()
    assert os.environ == arithmetic.variables()
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_native_leaves_the_surroundings_alone_and_does_not_warn(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(os, "environ", {**HOSTILE, "TCMAX_ARITHMETIC": "native"})
    monkeypatch.setattr(arithmetic, "paths", lambda: {"torch": "AVX512"})
    arithmetic.fix()
    arithmetic.check()
    assert os.environ == {**HOSTILE, "TCMAX_ARITHMETIC": "native"}
    assert arithmetic.mode() == f"native {arithmetic.probe()}"
    assert not recwarn.list


def test_a_mode_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCMAX_ARITHMETIC", "fast")
    with pytest.raises(TcmaxError, match="TCMAX_ARITHMETIC=fast: it takes portable or native"):
        arithmetic.asked()


@pytest.mark.parametrize(
    ("machine", "flags", "reason"),
    [
        ("aarch64", "fp asimd", "its processor is aarch64, not x86-64"),
        ("x86_64", "sse4_2 avx", "its processor lacks AVX2 and FMA"),
        ("x86_64", "avx2 fma4", "its processor lacks FMA"),
        ("x86_64", "avx2 fma avx512f", None),
    ],
)
def test_a_machine_that_cannot_offer_it_says_so_and_runs_without(tmp_path, monkeypatch, machine, flags, reason) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name : a processor\nflags\t\t: {flags}\n")
    monkeypatch.setattr(arithmetic, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(arithmetic.platform, "machine", lambda: machine)
    assert arithmetic.lacking() == reason
    monkeypatch.setattr(os, "environ", {})
    arithmetic.fix()
    assert ("ATEN_CPU_CAPABILITY" in os.environ) == (reason is None)
    assert os.environ["OMP_NUM_THREADS"] == "1"
    monkeypatch.setattr(arithmetic, "paths", lambda: {"torch": "DEFAULT"})
    with pytest.warns(UserWarning, match=reason or "before torch and numpy are imported"):
        arithmetic.check()


def test_a_session_that_loaded_torch_before_is_told_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "paths", lambda: {"torch": "AVX512", "MKL": "COMPATIBLE", "numpy": "X86_V3"})
    with pytest.warns(UserWarning, match="torch uses AVX512, not AVX2; numpy uses X86_V3, not baseline"):
        arithmetic.check()
    assert arithmetic.mode() != arithmetic.PORTABLE


def test_numpy_is_told_the_features_that_its_version_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    for version in ("2.3.5", "2.4.0", "1.26.4", "10.0.0"):
        monkeypatch.setattr(metadata, "version", lambda _, version=version: version)
        asked[version] = arithmetic.variables()["NPY_DISABLE_CPU_FEATURES"].split()
    assert asked["2.3.5"] == asked["1.26.4"]
    assert asked["2.4.0"] == asked["10.0.0"]
    assert "AVX2" in asked["2.3.5"]
    assert "X86_V3" in asked["2.4.0"]
    monkeypatch.undo()
    dispatched = set(numpy._core._multiarray_umath.__cpu_dispatch__)
    assert set(arithmetic.variables()["NPY_DISABLE_CPU_FEATURES"].split()) >= dispatched


def test_runs_of_different_arithmetic_are_refused_together(monkeypatch: pytest.MonkeyPatch) -> None:
    arithmetic.refuse_mixed([("a", "portable-1"), ("b", "portable-1")], "digits")
    arithmetic.refuse_mixed([("a", None), ("b", None)], "imported")
    for other in ("native 12", "portable-1 on a GPU", None):
        mixed = [("a", "portable-1"), ("b", other), ("c", "portable-1")]
        with pytest.raises(TcmaxError, match=rf"digits mixes runs of .*portable-1: a; {other or 'not recorded'}: b"):
            arithmetic.refuse_mixed(mixed, "digits")
        with monkeypatch.context() as chosen:
            chosen.setenv("TCMAX_ARITHMETIC", "native")
            arithmetic.refuse_mixed(mixed, "digits")


def test_every_analysis_output_records_it(tmp_path) -> None:
    output = tmp_path / "output.txt"
    output.write_text("something")
    provenance.write_stage(output, "stage", "tcmax.stats.intervals", [], {})
    sidecar = provenance.read_sidecar(output)
    assert sidecar is not None
    assert sidecar["arithmetic"] == arithmetic.record()
    assert arithmetic.described(sidecar["arithmetic"]).startswith(f"{arithmetic.mode()} (")
    assert arithmetic.described(None) == "not recorded"
    on_gpu = arithmetic.record("Some GPU 7")
    assert on_gpu["mode"] == f"{arithmetic.mode()} on Some GPU 7"
    assert arithmetic.of_processor(on_gpu["mode"]) == arithmetic.mode()


def test_doctor_says_what_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "lacking", lambda: "its processor is a toaster")
    assert f"NOT {arithmetic.PORTABLE}: its processor is a toaster" in CliRunner().invoke(app, ["doctor"]).stdout
