"""Run by Argilla's own Python: takes exported records into a dataset, but for sending them, and prints their fields."""

import json
import sys
import uuid
from pathlib import Path
from unittest.mock import Mock

import argilla

argilla.Argilla._get_default = classmethod(lambda cls: Mock())  # the client of a server
fields = [argilla.TextField("prompt"), argilla.TextField("completion"), argilla.ChatField("messages")]
stars = argilla.RatingQuestion("stars", values=[1, 2, 3, 4, 5])
dataset = argilla.Dataset("corral", settings=argilla.Settings(fields=fields, questions=[stars]), client=Mock())
rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
found = dataset.records._ingest_records(rows, user_id=uuid.uuid4())
print(json.dumps([[record.fields["prompt"], record.fields["completion"]] for record in found]))
