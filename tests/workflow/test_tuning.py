"""A tuned experiment through the DAG: trials, the sealed choice, then seeds; more trials train only what is new."""

import yaml
from projects import TINY, copy_project, planned, snakemake

from tcmax.records.files import read_json

SCORES = "results/tiny/digits-halves/scores.parquet"


def test_trials_come_before_the_choice_and_the_choice_before_seeds(tmp_path):
    project = copy_project(tmp_path)
    content = yaml.safe_load(TINY)
    content |= {"seeds": [3, 5], "tuning": {"trials": 2}, "variants": {"joint": {"method": "joint"}}}
    content["reference_variant"] = "joint"
    del content["claims"]
    config = project / "config" / "tiny.yaml"
    config.write_text(yaml.safe_dump(content))
    snakemake(project, SCORES)
    assert planned(project, SCORES) == []
    folder = project / "results/tiny/digits-halves/fold_0/joint"
    chosen = read_json(project / "results/tiny/choices.json")["cells"][0]["searches"][0]["values"]
    training = read_json(folder / "seed_3/run.json")["settings"]["training"]
    assert {name: training[name] for name in chosen} == chosen
    kept = (folder / "tuning/search_0/trial_0/seed_0/run.json").stat().st_mtime_ns
    content["tuning"]["trials"] = 3
    config.write_text(yaml.safe_dump(content))
    snakemake(project, SCORES)
    assert (folder / "tuning/search_0/trial_0/seed_0/run.json").stat().st_mtime_ns == kept
    assert (folder / "tuning/search_0/trial_2/seed_0/run.json").is_file()
