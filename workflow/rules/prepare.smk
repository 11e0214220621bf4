# Data: make stores from raw media; load, check, and write the facts that later stages need.

from pathlib import Path

from tcmax.data.media import clips
from tcmax.data.base import data_root

STORES = (data_root() or Path("data")) / "stores"


def clip_lists(wildcards):
    """The published lists of a set of clips."""
    lists = clips.clip_set(wildcards.clip_set).lists
    return [STORES.parent / file for file in lists.values()]


def store_key(wildcards):
    """Hash of the code and the choices that a store is made with."""
    from tcmax.commands import prepare_media  # which loads what decodes media

    return prepare_media.store_key(wildcards.clip_set)


# Once for all experiments, where $TCMAX_SOURCES/<set> holds the media; a killed job continues with the shard it was at.
rule store:
    input:
        clip_lists,
    output:
        STORES / "{clip_set}" / clips.LEAKAGE,
    log:
        STORES / "{clip_set}.log",
    wildcard_constraints:
        # Stores of other sets are taken as they are.
        clip_set="|".join([n for n in clips.CLIP_SETS if clips.media_folder(n)] or "-"),
    threads: 16
    resources:
        mem_mb=lambda wildcards, threads, attempt: (1000 + 1000 * threads) * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
    params:
        key=store_key,
    shell:
        'tcmax prepare {wildcards.clip_set} --source "$TCMAX_SOURCES/{wildcards.clip_set}"'
        " --processes {threads} > {log:q} 2>&1"


rule prepare:
    input:
        data_files,
    output:
        "results/{experiment}/{dataset}/data.json",
    log:
        "results/{experiment}/{dataset}/log/prepare.log",
    wildcard_constraints:
        experiment=TRAINED_HERE,
    resources:
        mem_mb=2000,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=data_key,
    shell:
        "tcmax prepare {wildcards.dataset} --experiment {wildcards.experiment} > {log} 2>&1"
