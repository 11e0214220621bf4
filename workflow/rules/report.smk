# Report: tables, figures, the page and the article.


rule report:
    input:
        verdicts,
        discrepancies,
        choice,
        budget_verdicts,
        trials_on_test,
        of_every_dataset(
            "items.parquet", "scores.parquet", "history.parquet", "data.json"
        ),
        evidence="results/{experiment}/evidence.parquet",
    output:
        page=report(
            "reports/{experiment}/report.html",
            caption="../report/page.rst",
            category="Report",
        ),
        tables=report(
            directory("reports/{experiment}/tables"),
            patterns=["{name}.csv"],
            caption="../report/tables.rst",
            category="Tables",
        ),
        figures=report(
            directory("reports/{experiment}/figures"),
            patterns=["{name}.png"],
            caption="../report/figures.rst",
            category="Figures",
        ),
    log:
        "results/{experiment}/log/report.log",
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=stage_key("report"),
    shell:
        "tcmax report {wildcards.experiment} --processes {threads} > {log} 2>&1"
