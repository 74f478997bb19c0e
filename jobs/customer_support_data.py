"""Make the 50,000 conversations of customer_support.yaml: `python jobs/customer_support_data.py`."""

from __future__ import annotations

from pathlib import Path

from azure_distill.samples.write import Sizes, write_rows

FOLDER = Path(__file__).parent / "data" / "customer_support"
SIZES = Sizes(training=50_000, validation=1_000, test=1_000, gold=0)

if __name__ == "__main__":
    for path in write_rows("conversation", FOLDER, SIZES):
        print(path)
