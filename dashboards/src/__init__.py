"""What dashboards/*.json is generated from: `python -m dashboards.src FOLDER`.

`grafana` knows the classic schema, `promql` the names, `bundle` what all pages share; each page is a module of its own.
"""
