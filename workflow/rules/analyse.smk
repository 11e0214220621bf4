# Analysis: predictions to scores, scores to evidence, evidence to verdicts. No torch from here on.


# In experiments with `sequential:` only. What a look asks for decides which blocks are trained next, so that the DAG is
# drawn again after it.
checkpoint look:
    input:
        manifests_at_look,
    output:
        "results/{experiment}/looks/{look}.json",
    log:
        "results/{experiment}/log/look_{look}.log",
    wildcard_constraints:
        experiment=TRAINED_HERE,
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=looks_key,
    shell:
        "tcmax looks {wildcards.experiment} --seeds {wildcards.look} > {log} 2>&1"


rule score:
    input:
        manifests,
    output:
        "results/{experiment}/{dataset}/items.parquet",
        "results/{experiment}/{dataset}/scores.parquet",
        "results/{experiment}/{dataset}/history.parquet",
    log:
        "results/{experiment}/{dataset}/log/score.log",
    wildcard_constraints:
        experiment=SCORED_HERE,
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=stage_key("score"),
    shell:
        "tcmax score {wildcards.experiment} --dataset {wildcards.dataset} > {log} 2>&1"


rule compare:
    input:
        looks_by_hand,
        of_every_dataset("items.parquet", "scores.parquet"),
    output:
        "results/{experiment}/evidence.parquet",
    log:
        "results/{experiment}/log/compare.log",
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=stage_key("compare"),
    shell:
        "tcmax compare {wildcards.experiment} > {log} 2>&1"


rule audit:
    input:
        looks_by_hand,
        of_every_dataset("items.parquet", "scores.parquet", "history.parquet"),
        claims=claims_file,
    output:
        "results/{experiment}/claim_evidence.parquet",
        "results/{experiment}/verdicts.parquet",
    log:
        "results/{experiment}/log/audit.log",
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=stage_key("audit"),
    shell:
        "tcmax audit claims {wildcards.experiment} > {log} 2>&1"


rule multiverse:
    input:
        looks_by_hand,
        of_every_dataset("items.parquet", "scores.parquet", "history.parquet"),
        claims=claims_file,
    output:
        "results/{experiment}/multiverse.parquet",
    log:
        "results/{experiment}/log/multiverse.log",
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=stage_key("multiverse"),
    shell:
        "tcmax audit multiverse {wildcards.experiment} > {log} 2>&1"


rule discrepancies:
    input:
        looks_by_hand,
        of_every_dataset("items.parquet", "scores.parquet"),
        claims=claims_file,
    output:
        "results/{experiment}/discrepancy_evidence.parquet",
        "results/{experiment}/discrepancies.parquet",
    log:
        "results/{experiment}/log/discrepancies.log",
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=stage_key("discrepancies"),
    shell:
        "tcmax audit discrepancies {wildcards.experiment} > {log} 2>&1"
