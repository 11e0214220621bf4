# Data: load, check, and write the facts that later stages need.


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
