"""Records to what a reader meets: tables, figures, one HTML page, an article. No statistic is made up here."""
