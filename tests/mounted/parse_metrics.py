# SPDX-License-Identifier: MIT
"""Reads metrics in the Prometheus text format from standard input, with Prometheus' own Python parser, and prints
[{"name", "type", "samples": [[name, labels, value], ...]}, ...]."""
import json
import sys

from prometheus_client.parser import text_string_to_metric_families

print(json.dumps([{"name": family.name, "type": family.type,
                   "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples]}
                  for family in text_string_to_metric_families(sys.stdin.read())]))
