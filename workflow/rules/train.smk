# Training: one job trains one block of seeds of one (dataset, fold, variant).
#
# The key covers settings and training-side code by content, so a comment, a docstring or the report's code retrains nothing.
# Retries belong to the profile: a rule-level retry would run inside the same allocation of a cluster.


rule train:
    input:
        "results/{experiment}/{dataset}/data.json",
        choice,
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


# In experiments with `tuning:` only. A trial never sees a test item.
rule trials:
    input:
        "results/{experiment}/{dataset}/data.json",
    output:
        "results/{experiment}/{dataset}/fold_{fold}/{variant}/tuning/search_{search}/block_{block}.json",
    log:
        "results/{experiment}/{dataset}/fold_{fold}/{variant}/log/search_{search}_block_{block}.log",
    wildcard_constraints:
        experiment=TRAINED_HERE,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=gpus,
    params:
        key=trials_key,
    shell:
        "tcmax trials {wildcards.experiment} --dataset {wildcards.dataset} --fold {wildcards.fold}"
        " --variant {wildcards.variant} --search {wildcards.search} --block {wildcards.block} > {log} 2>&1"


# What seeds are trained with is known from here on, so that the DAG is drawn again after it.
checkpoint tune:
    input:
        trial_manifests,
    output:
        "results/{experiment}/choices.json",
    log:
        "results/{experiment}/log/tune.log",
    wildcard_constraints:
        experiment=TRAINED_HERE,
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=tune_key,
    shell:
        "tcmax tune {wildcards.experiment} > {log} 2>&1"


# For curves of test scores, which choose nothing.
rule score_trials:
    input:
        trial_manifests_of_cell,
        choice,
    output:
        "results/{experiment}/{dataset}/fold_{fold}/{variant}/tuning/test.json",
    log:
        "results/{experiment}/{dataset}/fold_{fold}/{variant}/log/score_trials.log",
    wildcard_constraints:
        experiment=TRAINED_HERE,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=gpus,
    shell:
        "tcmax trials {wildcards.experiment} --dataset {wildcards.dataset} --fold {wildcards.fold}"
        " --variant {wildcards.variant} --test > {log} 2>&1"


# The claims after fewer trials, or none: one job trains what the budget does not share with another one.
rule budget:
    input:
        of_every_dataset("data.json"),
        sealed_choice,
        claims=claims_file,
    output:
        "results/{experiment}/budgets/{budget}/{experiment}/verdicts.parquet",
    log:
        "results/{experiment}/log/budget_{budget}.log",
    wildcard_constraints:
        experiment=TRAINED_HERE,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
        gpu=gpus,
    params:
        key=budget_key,
    shell:
        "tcmax budgets {wildcards.experiment} --trials {wildcards.budget} > {log} 2>&1"
