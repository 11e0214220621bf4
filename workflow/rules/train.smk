# Training: one job trains one block of seeds of one (dataset, fold, variant).
#
# The key covers settings and training-side code by content, so a comment, a docstring or the report's code retrains nothing.
# Retries belong to the profile: a rule-level retry would run inside the same allocation of a cluster.


rule train:
    input:
        "results/{experiment}/{dataset}/data.json",
    output:
        "results/{experiment}/{dataset}/fold_{fold}/{variant}/block_{block}.json",
    log:
        "results/{experiment}/{dataset}/fold_{fold}/{variant}/log/block_{block}.log",
    benchmark:
        "results/{experiment}/{dataset}/fold_{fold}/{variant}/log/block_{block}.benchmark.tsv"
    wildcard_constraints:
        experiment=TRAINED_HERE,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=gpus,
    params:
        key=block_key,
    shell:
        "tcmax train {wildcards.experiment} --dataset {wildcards.dataset} --fold {wildcards.fold}"
        " --variant {wildcards.variant} --block {wildcards.block} > {log} 2>&1"
