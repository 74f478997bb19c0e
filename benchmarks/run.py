"""All measurements, one after the other, into docs/benchmarks.md: `make bench`.

Each benchmark is a script of its own that prints one JSON object; a ratio within one run means more than a number,
for everything shares this machine.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
SECTIONS = (
    "demo", "methods", "methods_speed", "training", "training_gpu", "generative", "prepare_data", "teacher_client",
    "hosted_teacher", "evaluation", "cloud_submit",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--page", type=Path, default=PAGE)
    wanted = parser.parse_args().only
    page = parser.parse_args().page
    parts = ["# Benchmarks", f"Measured on {machine()}, {datetime.date.today()}, by `make bench`."]
    for section in SECTIONS:
        if section in wanted:
            print(f"== {section}", file=sys.stderr, flush=True)
            parts.append(globals()[f"{section}_section"]())
            page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(page)


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if "MemTotal" in line), 0.0)
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model}), {memory:.0f} GiB, Python {platform.python_version()}, {platform.system()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def answer(*command: str | Path) -> Any:
    """The JSON that a program prints."""
    done = subprocess.run([sys.executable, *map(str, command)], stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return json.loads(done.stdout)


def demo() -> Any:
    """The demo's run; from the cache where it has run before."""
    subprocess.run([sys.executable, ROOT / "jobs" / "bbc_topics_data.py"], check=True, stdout=sys.stderr)
    return answer("-m", "azure_distill", "run", ROOT / "jobs" / "bbc_topics.yaml", "--json")


def demo_section() -> str:
    run = demo()
    rows = ["| model | n | accuracy | p50 | tokens/s | weights |", "|---|---|---|---|---|---|"]
    for contender in run["metrics"]["contenders"].values():
        accuracy, latency = contender["metrics"]["accuracy"], contender["latency_ms"]["p50"]
        rows.append(
            f"| {contender['name']} | {contender['n']} | {accuracy['value']:.3f} "
            f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}] | {latency:.1f} ms | {contender['tokens_per_s']:,.0f} "
            f"| {contender['weight_bytes'] / 1e6:.2f} MB |"
        )
    return (
        "## The demo\n\nBBC topics on 400 held-out articles, 95 % Wilson intervals; latency in process, batch 1, "
        "warm.\n\n" + "\n".join(rows) + "\n\n" + " ".join(run["metrics"]["summary"])
    )


def methods_section() -> str:
    outputs = demo()["outputs"]
    responses, gold = outputs["teacher_inference"]["responses"], outputs["prepare_data"]["gold"]
    found = answer("benchmarks/bbc_methods.py", "--responses", responses, "--gold", gold)
    rows = ["| the student learns | validation | test | seconds |", "|---|---|---|---|"]
    for way, runs in found.items():
        cells = [spread([run[split] for run in runs]) for split in ("validation", "test")]
        rows.append(f"| `{way}` | {cells[0]} | {cells[1]} | {statistics.mean(run['seconds'] for run in runs):.1f} |")
    return (
        "## Methods\n\nThe demo's student, three seeds, accuracy against the truth, mean ± half the "
        "range. Same hyperparameters for all; the epoch is chosen on the validation rows.\n\n" + "\n".join(rows)
    )


def methods_speed_section() -> str:
    found = answer("benchmarks/methods_speed.py")
    rows = ["| a training step, time beside `response` | " + " | ".join(found["ratio_to_response"]) + " |"]
    rows.append("|---|" + "---|" * len(found["ratio_to_response"]))
    for name in next(iter(found["ratio_to_response"].values())):
        cells = [f"{ratios[name]:.2f}" for ratios in found["ratio_to_response"].values()]
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    memory = ", ".join(f"{name}: {megabytes:,} MB" for name, megabytes in found["peak_memory_mb"].items())
    return (
        "## The methods' cost\n\nCPU time of one thread, median step, on the same rows. The hosted teacher is as large "
        "as the student: its layers run in the first epoch, what they gave is kept for the others.\n\n"
        + "\n".join(rows)
        + f"\n\nGrowth of the peak memory by a step on 2,048 answer tokens, vocabulary 49,152: {memory}."
    )


def generative_section() -> str:
    found = answer("benchmarks/generative.py")
    rows = ["| who writes | n | ROUGE-L |", "|---|---|---|"]
    for method, run in found.items():
        for role, one in run["rouge_l"].items():
            name = {"student": f"student, distilled by `{method}`", "baseline": "student, untrained"}.get(role, role)
            row = f"| {name} | {one['n']} | {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}] |"
            rows += [row] if row not in rows else []
    return (
        "## A student that writes\n\nHeadlines of BBC news. The teacher is SmolLM2-135M adapted on 120 gold headlines; "
        "the student is the same model as it comes, and learns from the teacher's answers to 240 other articles; 95 % "
        "bootstrap intervals.\n\n" + "\n".join(rows) + "\n\n" + " ".join(found["response"]["summary"])
    )


def spread(values: list[float]) -> str:
    """Mean ± half the range."""
    return f"{statistics.mean(values):.3f} ±{(max(values) - min(values)) / 2:.3f}"


def prepare_data_section() -> str:
    rows = ["| 50,000 rows | wall | CPU | peak memory |", "|---|---|---|---|"]
    for kind in ("chat", "template"):
        found = answer("benchmarks/prepare_data.py", "--kind", kind)
        wall, cpu, peak = found["seconds"], found["cpu_seconds"], found["peak_mb"]
        rows.append(f"| {kind} | {wall:.1f} s | {cpu:.1f} s | {peak:.0f} MB |")
    return (
        "## prepare_data\n\n`chat` is multi-turn conversations of about 1 KB; `template` is short rows that share "
        "long instructions, the hard case of the search for near duplicates.\n\n" + "\n".join(rows)
    )


def teacher_client_section() -> str:
    found = answer("benchmarks/teacher_client.py")
    rows = ["| client | requests/s | CPU a request | peak memory |", "|---|---|---|---|"]
    for name, client in found["clients"].items():
        if isinstance(client, str):
            rows.append(f"| {name} | {client} | | |")
        else:
            rows.append(f"| {name} | {client['rps']:,} | {client['cpu_ms']:.2f} ms | {client['peak_mb']} MB |")
    hidden, flaky = found["hidden_limit"], found["first_fails"]
    memory, kills = answer("benchmarks/teacher_memory.py"), answer("benchmarks/kill_teacher.py")
    return (
        f"## Teacher client\n\n{found['requests']:,} requests, {found['concurrency']} at once, to a server of this "
        f"machine that answers after 100 ms, so {found['ideal_rps']:,.0f} a second at best; medians of "
        f"{found['rounds']} rounds in turns. `component` is the whole of `teacher_inference`, every "
        "answer flushed to disk.\n\n" + "\n".join(rows) + "\n\nA hidden limit of "
        f"{hidden['limit']} at once, refusals with `Retry-After`: {hidden['share_of_capacity']:.0%} of the capacity, "
        f"{hidden['refused_share']:.1%} of the requests refused after the first {hidden['warm_up']}. The first attempt "
        f"of every request fails with 503: {flaky['to_ideal_time']:.2f} times the ideal time. {memory['rows']:,} rows "
        f"take {memory['peak_mb']:.0f} MB at most.\n\nA job of {kills['rows']:,} rows was killed with `kill -9` at "
        f"{kills['kills']} random moments: {kills['lost']} answers were lost, and at most {kills['most_by_one_kill']} "
        f"requests were sent again after one kill, with {kills['in_flight']} in flight."
    )


def hosted_teacher_section() -> str:
    found = answer("benchmarks/hosted_teacher.py")
    rows = ["| | rows | component | `generate` | ratio | of CPU time |", "|---|---|---|---|---|---|"]
    for name, case in found.items():
        speeds = [f"{case[side]['rows_per_s']:.2f} rows/s" for side in ("component", "generate")]
        rows.append(
            f"| {name} | {case['rows']} | {' | '.join(speeds)} | {case['ratio']:.2f} | {case['cpu_ratio']:.2f} |"
        )
    return (
        "## Hosted teacher\n\nSmolLM2-135M-Instruct beside transformers' `generate` in batches of 16, same precision: "
        "`texts` of up to 48 tokens; `labels`, where `generate` writes up to 16 tokens; `least`, where it writes no "
        "more than the longest label; `shots`, the same after ten solved examples.\n\n" + "\n".join(rows)
    )


def training_section() -> str:
    if importlib.util.find_spec("trl") is None:
        return "## Training\n\nNot measured: `pip install azure-distill[bench-peers]` first."
    found = answer("benchmarks/training.py")
    rows = ["| student | ours | Trainer, rows grouped by length | SFTTrainer | over Trainer | over SFTTrainer |"]
    rows.append("|---|---|---|---|---|---|")
    for name, shown in (("tiny", "5.2M weights, all trained"), ("smollm2", "SmolLM2-135M, LoRA")):
        rates = found[name]["tokens_per_cpu_s"]
        rows.append(
            f"| {shown} | {rates['ours']} | {rates['trainer']} | {rates['sft']} "
            f"| {found[name]['over_trainer']:.2f}× | {found[name]['over_sft']:.2f}× |"
        )
    return (
        "## Training\n\nTokens of prompts and answers a second of the processor, padding not counted, over a whole "
        f"`train()` in {found['dtype']} with {found['threads']} threads at a load of {found['load']}. Rows of 20 to "
        "256 tokens, a quarter of them the answer; batches of 8.\n\n" + "\n".join(rows)
    )


def training_gpu_section() -> str:
    import torch

    if not torch.cuda.is_available():
        return "## Training on a GPU\n\nNot measured, for want of a GPU: `python benchmarks/training_gpu.py`."
    found = answer("benchmarks/training_gpu.py")
    rows = ["| weights | way | tokens/s | peak memory | MFU | attention |", "|---|---|---|---|---|---|"]
    for tuning in ("lora", "full"):
        for way, one in found[tuning].items():
            shown = "{tokens_per_s:,} | {peak_gb} GB | {mfu} | {attention}" if "mfu" in one else "{failed} | | |"
            rows.append(f"| {tuning} | {way} | {shown.format(**one)} |")
    return (
        f"## Training on a GPU\n\nA student of the shape of Llama 3.2 {found['size'].upper()} on one "
        f"{found['device']}, bfloat16, {found['rows']} rows of 64 to 2,048 tokens, a quarter of them the answer; "
        "batches of 4, four a step.\n\n" + "\n".join(rows)
    )


def evaluation_section() -> str:
    return "## Evaluation\n\n" + block(answer("benchmarks/evaluation.py"))


def cloud_submit_section() -> str:
    found = answer("benchmarks/cloud_submit.py")
    rows = ["| an unchanged job, submitted again | wall, median | CPU, median | REST calls | uploads |"]
    rows.append("|---|---|---|---|---|")
    for name in ("azure_distill", "bare_sdk"):
        wall, cpu = (statistics.median(found[kind][name]) for kind in ("wall_seconds", "cpu_seconds"))
        rows.append(
            f"| `{name}` | {wall:.2f} s | {cpu:.2f} s | {found['rest_calls'][name]} | {found['uploads'][name]} |"
        )
    return (
        "## Submitting to Azure\n\nWhole processes against the emulated Azure of the tests, in turns; `bare_sdk` is a "
        f"script of the SDK that sends the same job. Ratio of wall times: {found['wall_ratio']:.2f}, of CPU times: "
        f"{found['cpu_ratio']:.2f}; the machine's load was {found['load']:.1f}.\n\n" + "\n".join(rows)
    )


def block(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=1)}\n```"


if __name__ == "__main__":
    main()
