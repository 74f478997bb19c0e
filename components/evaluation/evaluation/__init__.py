"""Distilled student, untrained student and teacher side by side on the held-out rows.

The modules, in the order of the work:

    arguments, settings     what was asked for, checked
    contenders, worker      each model in a process of its own: its answers and what running it costs
    join, examples          rows and answers together, one row at a time; a few of them for people to read
    further, likelihood     figures beside the metrics: probabilities, form, facts
    judge                   an LLM's preference between student and teacher, asked by the teacher's client
    metrics, statistics     a metric is a vector per row and a function of the sum; intervals and paired tests
    verdict, gate           what the figures mean, in sentences and in checks
    page, cards, tables,    report.html
    charts, label_charts
    tracking                the same figures as MLflow metrics
"""
