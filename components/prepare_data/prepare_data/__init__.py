"""Checks, cleans, deduplicates, balances and splits the user's rows.

main        the command line; what a failure leaves     prepare     the order of it all
settings    the `--settings` argument                   problems    everything that is wrong, collected
lines       bytes -> physical lines                     strict      text -> JSON
readers     a file -> (line, value)                     rows        a value -> a checked row
table       rows -> a few numbers each, and a spool     shingles    text -> a set of numbers
near        which rows nearly repeat others             clean       which rows are dropped, and why
split       which rows go where                         report      data_report.json
output      the files of the result, all or none
"""
