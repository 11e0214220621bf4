"""`tcmax why FILE`: what produced a file, and whether and why it would be rebuilt."""

from pathlib import Path
from typing import Any

from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import Cell, Experiment, load
from tcmax.records import arithmetic, provenance
from tcmax.records.files import read_json, sha256
from tcmax.training import datasets, jobs


def why_text(file: Path, results: Path) -> str:
    """Provenance of a file under results/ or reports/, with the reasons for which it is out of date.

    Raises TcmaxError when the file does not exist or nothing recorded how it was made.
    """
    if not file.exists():
        raise TcmaxError(f"{file} does not exist.")
    folder = file if file.is_dir() else file.parent
    sidecar = _analysis_sidecar(file)
    imported = next((where for where in (folder, *folder.parents) if (where / "import.json").is_file()), None)
    if imported is not None and sidecar is None:
        return _imported_text(file, imported)
    for candidate in (folder, *folder.parents):
        if (candidate / "run.json").is_file():
            return _run_text(candidate, file, results)
        if candidate.name.startswith("fold_"):
            break
    if file.suffix == ".json" and file.name.startswith("block_"):
        return _block_text(file, results)
    if sidecar is not None:
        return _analysis_text(file, sidecar)
    if file.name == "data.json":
        record = read_json(file)
        return f"{file}\n  data of {record['id']}, fingerprint {record['fingerprint']}\n  source: {record['source']}"
    raise TcmaxError(f"{file} is not a result that tcmax wrote: no record of how it was made stands beside it.")


def _analysis_sidecar(file: Path) -> dict[str, Any] | None:
    found = provenance.read_sidecar(file)
    if found is not None:
        return found
    for parent in file.parents:  # tables and figures share the provenance of their report's page
        found = provenance.read_sidecar(parent / "report.html")
        if found is not None:
            return found
    return None


def _verdict(reasons: list[str]) -> list[str]:
    if not reasons:
        return ["up to date: code, settings and inputs are as recorded"]
    return ["would be rebuilt:", *(f"  - {reason}" for reason in reasons)]


def _lines(title: str, facts: dict[str, Any], reasons: list[str]) -> str:
    width = max(len(name) for name in facts)
    described = [f"  {name:<{width}}  {value}" for name, value in facts.items() if value is not None]
    return "\n".join([title, *described, *(f"  {line}" for line in _verdict(reasons))])


def _flat(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _run_text(folder: Path, file: Path, results: Path) -> str:
    record = read_json(folder / "run.json")
    sidecar = read_json(folder / "sidecar.json") if (folder / "sidecar.json").is_file() else {}
    facts = {
        "run": f"{record['experiment']} / {record['settings']['dataset']} / fold {record['settings']['fold']} / "
        f"{record['variant']} / seed {record['seed']}",
        "status": record["status"],
        "run key": record["run_key"],
        "data": record["data"],
        "code": provenance.digest(record["code"]) + f" ({len(record['code'])} modules)",
        "trained": f"{sidecar.get('started')}, {sidecar.get('seconds')} s on {sidecar.get('device')}",
        "versions": _flat(sidecar.get("versions", {})),
        "hardware": _flat(sidecar.get("hardware", {})),
        "arithmetic": arithmetic.described(sidecar.get("arithmetic")),
    }
    return _lines(str(file), facts, _run_reasons(folder, record, results))


def _run_reasons(folder: Path, record: dict[str, Any], results: Path) -> list[str]:
    """Why a run would be trained again: each setting, module and file that differs from its record."""
    reasons = []
    for described in record["files"].values():
        path = folder / described["path"]
        if not path.is_file():
            reasons.append(f"{path.name} is missing")
        elif sha256(path) != described["sha256"]:
            reasons.append(f"{path.name} was altered after it was written")
    try:
        experiment = load(record["experiment"])
    except TcmaxError as error:
        return [*reasons, f"its experiment cannot be read: {error}"]
    settings = record["settings"]
    name, variant = settings["dataset"], record["variant"]
    if name not in experiment.settings.datasets or variant not in experiment.settings.variants:
        return [*reasons, f"{experiment.path} no longer has {name} with {variant}"]
    from tcmax.training.spec import resolve_run

    dataset = datasets.load_dataset(experiment, name)
    cell, stage = Cell(name, settings["fold"], variant), tuple(settings.get("stage", ()))
    try:
        values = _tuned_values(experiment, cell, stage, record["seed"], results)
    except TcmaxError as error:
        return [*reasons, str(error).removesuffix(".")]
    if stage:
        dataset = dataset.without_test(cell.fold)
    tuned = tuning.tuned_of(values)
    current = resolve_run(experiment, dataset, name, cell.fold, variant, tuned, stage).resolved()
    reasons += provenance.changes(settings, _plain(current), "setting")
    reasons += [
        reason.replace("module", "code of", 1)
        for reason in provenance.changes(record["code"], jobs.code_of(experiment, name, variant), "module")
    ]
    half = {"half_precision_logits": experiment.settings.half_precision_logits}
    reasons += provenance.changes({"half_precision_logits": record["half_precision_logits"]}, half, "setting")
    computed, current_mode = arithmetic.of_processor(record.get("arithmetic", "not recorded")), arithmetic.mode()
    if computed != current_mode:
        reasons.append(f"its arithmetic was {computed}, is {current_mode}")
    if record["data"] != dataset.fingerprint():
        reasons.append("the data has another fingerprint")
    return reasons


def _tuned_values(
    experiment: Experiment, cell: Cell, stage: tuple[Any, ...], seed: int, results: Path
) -> tuning.Values:
    """What a trial would try now, or what the choice would train a seed with; nothing where nothing is tuned."""
    if stage:
        from tcmax.training.trials import trial_values

        _, search, trial = stage
        drawn = trial_values(experiment, cell, search)
        if trial >= len(drawn):
            raise TcmaxError(f"the experiment has {len(drawn)} trials, and this is trial {trial}")
        result: tuning.Values = drawn[trial]
        return result
    if experiment.settings.tuning is None:
        return {}
    if seed not in experiment.settings.seeds:
        raise TcmaxError(f"the experiment no longer has seed {seed}")
    return tuning.chosen(experiment, results, cell)[tuning.search_of(experiment, seed)].values


def _plain(value: Any) -> Any:
    """Tuples as lists, as they are read back from JSON."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _block_text(file: Path, results: Path) -> str:
    manifest = read_json(file)
    facts = {
        "block": f"{manifest['block']} of {manifest['experiment']} / {manifest['dataset']} / fold {manifest['fold']} / "
        f"{manifest['variant']}",
        "runs": ", ".join(f"seed {run['seed']} {run['status']}" for run in manifest["runs"]),
    }
    reasons = []
    try:
        experiment = load(manifest["experiment"])
        of_trials = "search" in manifest
        blocks = tuning.trial_blocks(tuning.tuning_of(experiment)) if of_trials else experiment.blocks
        wanted = list(blocks[manifest["block"]]) if manifest["block"] < len(blocks) else []
        what, listed = ("trials", "trial") if of_trials else ("seeds", "seed")
        if wanted != list(dict.fromkeys(run[listed] for run in manifest["runs"])):
            reasons.append(f"the block's {what} are now {', '.join(map(str, wanted)) or 'none'}")
    except TcmaxError as error:
        return _lines(str(file), facts, [f"its experiment cannot be read: {error}"])
    for run in manifest["runs"]:
        named = f"trial {run['trial']} seed {run['seed']}" if "trial" in run else f"seed {run['seed']}"
        folder = file.parent / "/".join(named.replace("seed ", "seed_").replace("trial ", "trial_").split())
        record = read_json(folder / "run.json") if (folder / "run.json").is_file() else None
        if record is None or record["run_key"] != run["run_key"]:
            reasons.append(f"{named} is missing or was trained again")
        else:
            reasons += [f"{named}: {reason}" for reason in _run_reasons(folder, record, results)]
    return _lines(str(file), facts, reasons)


def _imported_text(file: Path, folder: Path) -> str:
    """What an import read, and which of these files, or of those it wrote, is no longer the same."""
    record = read_json(folder / "import.json")
    mapping = Path(record["mapping"])
    facts = {
        "imported": f"{record['content']} of {folder.name}",
        "source": record["source"],
        "mapping": mapping,
        "files": f"{len(record['files'])} files beside it",
        "notes": "; ".join(record["notes"]) or None,
    }
    expected = {mapping: record["mapping_sha256"]}
    expected |= {mapping.parent / name: known for name, known in record["files"].items()}
    reasons = []
    for path, known in expected.items():
        if not path.is_file():
            reasons.append(f"{path} is missing")
        elif sha256(path) != known:
            reasons.append(f"{path} has changed since it was imported")
    for manifest in sorted(file.parents[1].glob("block_*.json")) if file.suffix == ".parquet" else ():
        for run in read_json(manifest)["runs"]:
            for described in run["files"].values():
                if manifest.parent / described["path"] == file and sha256(file) != described["sha256"]:
                    reasons.append(f"{file.name} was altered after it was written")
    return _lines(str(file), facts, reasons)


def _analysis_text(file: Path, sidecar: dict[str, Any]) -> str:
    facts = {
        "stage": sidecar["stage"],
        "command": " ".join(sidecar["command"]),
        "written": sidecar["written"],
        "code": provenance.digest(sidecar["code"]) + f" ({len(sidecar['code'])} modules)",
        "inputs": f"{len(sidecar['inputs'])} files",
        "versions": _flat(sidecar["versions"]),
        "hardware": _flat(sidecar["hardware"]),
        "arithmetic": arithmetic.described(sidecar.get("arithmetic")),
    }
    reasons = []
    for name, recorded in sidecar["inputs"].items():
        path = Path(name)
        if not path.is_file():
            reasons.append(f"its input {name} is missing")
        elif sha256(path) != recorded:
            reasons.append(f"its input {name} has changed")
    current = provenance.stage_code(sidecar["module"])
    reasons += [
        reason.replace("module", "code of", 1) for reason in provenance.changes(sidecar["code"], current, "module")
    ]
    return _lines(str(file), facts, reasons)
